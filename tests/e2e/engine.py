#!/usr/bin/env python3
"""llmd engine as a client, a router and a scraper meet it: engine.py LLMD SOURCE_ROOT. Prints TAP.

Where recordings of a real vLLM are at hand (LLMD_SHARED, or ../shared beside the sources), every answer has what the
recorded ones have. Events are read over ZMTP and their hashes recomputed. With LLMD_PYTHON, a Python that has the
openai package, that is a client, too.
"""
import hashlib
import http.client
import json
import os
import random
import re
import shutil
import socket
import struct
import subprocess
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.dont_write_bytecode = True
sys.path.insert(0, HERE)
sys.path.insert(0, os.path.join(HERE, '..', 'lint'))
sys.path.insert(0, os.path.join(HERE, '..', 'conformance'))
import msgpack  # noqa: E402
import tap  # noqa: E402
import zmtp  # noqa: E402

PATIENCE = 60  # seconds until something that must come is given up
MODEL = 'llmd-filler'
LONG = 'You are a helpful assistant. Answer the question of the user briefly and with care. ' * 6


class Wrong(Exception):
    pass


def need(what, condition, more=''):
    if not condition:
        raise Wrong(f'{what} {more}')


def same(what, got, expected):
    if got != expected:
        raise Wrong(f'{what}: got {got!r}, expected {expected!r}')


def eventually(what, condition):
    end = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > end:
            raise Wrong(f'never: {what}')
        time.sleep(0.02)


# ---- engines ---------------------------------------------------------------------------------------------------------

class Engine:
    """One process; the first engine in it is meant unless said otherwise."""
    program = None

    def __init__(self, *options, count=1):
        args = tap.program(Engine.program) + ['engine', '--port', '0', '--count', str(count), *options]
        self.process = subprocess.Popen(args, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL)
        self.ports, self.events, self.replay = [], None, None
        for _ in range(count):
            line = self.process.stderr.readline().decode()
            found = re.match(r'engine: listening on 127\.0\.0\.1:(\d+)(?: events (\S+) replay (\S+))?\n', line)
            if not found:
                self.process.kill()
                raise Wrong(f'said {line!r}')
            self.ports.append(int(found.group(1)))
            self.events, self.replay = self.events or found.group(2), self.replay or found.group(3)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        code = self.process.wait(PATIENCE)
        rest = self.process.stderr.read().decode()
        self.process.stderr.close()
        if code or rest:
            raise Wrong(f'ended with {code}: {rest}')

    def connect(self, i=0):
        return http.client.HTTPConnection('127.0.0.1', self.ports[i], timeout=PATIENCE)

    def ask(self, method, path, body=None, i=0):
        """Status, headers, body."""
        c = self.connect(i)
        try:
            c.request(method, path, json.dumps(body) if isinstance(body, (dict, list)) else body)
            r = c.getresponse()
            return r.status, r.headers, r.read()
        finally:
            c.close()

    def get(self, path, i=0):
        return self.ask('GET', path, i=i)

    def json(self, path, body=None, status=200, i=0):
        got, _, text = self.ask('GET' if body is None else 'POST', path, body, i)
        if got != status:
            raise Wrong(f'{path}: status {got}, expected {status}: {text[:300]!r}')
        return json.loads(text)

    def chat(self, text='The quick brown fox?', **more):
        return self.json('/v1/chat/completions', chat(text, **more))

    def fault(self, kind, **more):
        return self.json('/fault', {'kind': kind, **more})

    def number(self, name, label=''):
        return figure(self.get('/metrics')[2].decode(), name, label)


def chat(text='The quick brown fox?', system=LONG, **more):
    return {'model': MODEL, 'messages': [{'role': 'system', 'content': system}, {'role': 'user', 'content': text}],
            'max_tokens': 8, 'temperature': 0, **more}


def figure(page, name, label=''):
    for line in page.splitlines():
        if line.startswith(name + '{') and label in line:
            return float(line.rsplit(' ', 1)[1])
    raise Wrong(f'no {name} on the page')


def events_of(text):
    """The data of a stream of events, [DONE] checked and left out."""
    parts = text.split('\n\n')
    same('end of the stream', parts[-2:], ['data: [DONE]', ''])
    for part in parts[:-1]:
        need('an event begins with data:', part.startswith('data: '), part)
    return [json.loads(part[6:]) for part in parts[:-2]]


# ---- what vLLM said --------------------------------------------------------------------------------------------------

class Recorded:
    def __init__(self, root):
        shared = os.environ.get('LLMD_SHARED') or os.path.join(root, '..', 'shared')
        self.folder = os.path.join(shared, 'data', 'vllm')
        self.there = os.path.isdir(self.folder)

    def text(self, name, setting='sha256_cbor_seed0'):
        with open(os.path.join(self.folder, setting, name), encoding='utf-8') as f:
            return f.read()

    def body(self, name, setting='sha256_cbor_seed0'):
        return json.loads(self.text(name, setting).split('\n\n', 1)[1])

    def status(self, name):
        return int(self.text(name).split()[1])


def has_all_of(what, ours, theirs):
    """Members that the recorded answer has are there; values of one kind, but where one is null."""
    if isinstance(theirs, dict):
        need(f'{what} is an object', isinstance(ours, dict), repr(ours)[:80])
        for name, value in theirs.items():
            need(f'{what} has', name in ours, name)
            has_all_of(f'{what}.{name}', ours[name], value)
    elif isinstance(theirs, list):
        need(f'{what} is a list', isinstance(ours, list))
        if theirs and ours:
            has_all_of(f'{what}[0]', ours[0], theirs[0])
    elif theirs is not None and ours is not None:
        number = (int, float)
        need(f'{what} is of one kind', isinstance(ours, type(theirs)) or
             (isinstance(ours, number) and isinstance(theirs, number)), f'{ours!r} {theirs!r}')


def against_recordings(r):
    with Engine('--speed', '100', '--block-size', '32', '--kv-events') as e:
        for name, setting, path, body in (
                ('resp_chat_cold.txt', None, '/v1/chat/completions', chat()),
                ('resp_return_ids.txt', None, '/v1/chat/completions', chat(return_token_ids=True)),
                ('resp_completion_ids.txt', None, '/v1/completions', {'prompt': list(range(10, 74)), 'max_tokens': 4}),
                ('tokenize_chat.txt', None, '/tokenize', {'messages': chat()['messages']}),
                ('render_chat.txt', 'sha256_noseed_bytes', '/v1/chat/completions/render', chat()),
                ('reset_prefix_cache.txt', None, '/reset_prefix_cache', {}),
                ('get_kv_event_sources.txt', 'sha256_noseed_bytes', '/kv_event_sources', None),
                ('get_version.txt', 'sha256_noseed_bytes', '/version', None),
                ('get_load.txt', 'sha256_noseed_bytes', '/load', None)):
            has_all_of(name, e.json(path, body), r.body(name, setting or 'sha256_cbor_seed0'))
        has_all_of('models.json', e.json('/v1/models'), json.loads(r.text('models.json')))


def refusals_against_recordings(r):
    with Engine('--speed', '100', '--max-model-len', '2048') as e:
        for name, path, body in (
                ('resp_unknown_model.txt', '/v1/chat/completions', {**chat(), 'model': 'nope'}),
                ('resp_too_long.txt', '/v1/completions', {'prompt': [5] * 4000, 'max_tokens': 4}),
                ('resp_bad_json.txt', '/v1/chat/completions', {'model': MODEL})):
            ours, theirs = e.json(path, body, r.status(name)), r.body(name)
            has_all_of(name, ours, theirs)
            for member in ('type', 'param', 'code'):
                same(f'{name}: {member}', ours['error'][member], theirs['error'][member])


def streams_against_recordings(r):
    with Engine('--speed', '100') as e:
        for name, options in (('stream_chat_nousage.txt', None), ('stream_chat_warm.txt', {'include_usage': True}),
                              ('stream_chat_continuous_usage.txt',
                               {'include_usage': True, 'continuous_usage_stats': True})):
            more = {'stream_options': options} if options else {}
            status, headers, text = e.ask('POST', '/v1/chat/completions', chat(stream=True, **more))
            same(f'{name}: status', status, 200)
            same(f'{name}: type', headers['content-type'], 'text/event-stream; charset=utf-8')
            ours, theirs = events_of(text.decode()), events_of(r.text(name).split('\n\n', 1)[1].rstrip('\n') + '\n\n')
            same(f'{name}: events', len(ours), len(theirs))
            for i, (one, other) in enumerate(zip(ours, theirs)):
                has_all_of(f'{name}: event {i}', one, other)
                same(f'{name}: usage in event {i}', 'usage' in one, 'usage' in other)


def metrics_against_recordings(r):
    page = r.text('metrics_after.txt')
    known = set(re.findall(r'^# TYPE (\S+) ', page, re.M)) | {'vllm:lora_requests_info'}
    labels = set(re.findall(r'(\w+)="', re.search(r'^vllm:cache_config_info\{(.*)\}', page, re.M).group(1)))
    with Engine('--lora', 'one', '--page-bytes', '60000') as e:
        ours = e.get('/metrics')[2].decode()
        need('a page of 60,000 bytes', 60000 <= len(ours) < 70000, len(ours))
        for name, kind in re.findall(r'^# TYPE (\S+) (\S+)', ours, re.M):
            need('vLLM has this family:', name in known, name)
            found = re.search(rf'^# TYPE {re.escape(name)} (\S+)', page, re.M)
            need(f'{name} is a {kind}', not found or found.group(1) == kind)
        mine = re.search(r'^vllm:cache_config_info\{(.*)\}', ours, re.M).group(1)
        for name in re.findall(r'(\w+)="', mine):
            need('cache_config_info has this label:', name in labels, name)


# ---- answers ---------------------------------------------------------------------------------------------------------

def usage_of(answer):
    u = answer['usage']
    same('total', u['total_tokens'], u['prompt_tokens'] + u['completion_tokens'])
    return u['prompt_tokens'], u['completion_tokens'], u['prompt_tokens_details']['cached_tokens']


def second_prompt_is_cached(_):
    with Engine('--speed', '100') as e:
        count = e.json('/tokenize', {'messages': chat()['messages']})['count']
        first, second = e.chat(), e.chat()
        same('first', usage_of(first), (count, 8, 0))
        same('second', usage_of(second), (count, 8, (count - 1) // 16 * 16))
        same('the same words', first['choices'][0]['message'], second['choices'][0]['message'])
        same('finish', first['choices'][0]['finish_reason'], 'length')
        need('another id', first['id'] != second['id'])
        same('salted', usage_of(e.chat(cache_salt='a'))[2], 0)
        same('salted again', usage_of(e.chat(cache_salt='a'))[2], (count - 1) // 16 * 16)
        same('queries', e.number('vllm:prefix_cache_queries_total'), 4 * count)
        same('hits', e.number('vllm:prefix_cache_hits_total'), 2 * ((count - 1) // 16 * 16))
        same('prompt tokens', e.number('vllm:prompt_tokens_total'), 4 * count)
        same('generated', e.number('vllm:generation_tokens_total'), 32)
        same('first tokens', e.number('vllm:time_to_first_token_seconds_count'), 4)
        same('reset', e.json('/reset_prefix_cache', {}), {'success': True})
        same('after the reset', usage_of(e.chat())[2], 0)


def conversation_goes_on_from_its_answers(_):
    with Engine('--speed', '1000') as e:
        body = chat(max_tokens=64)
        first = e.json('/v1/chat/completions', body)
        body['messages'] += [first['choices'][0]['message'], {'role': 'user', 'content': 'And then?'}]
        second = e.json('/v1/chat/completions', body)
        n = first['usage']['total_tokens']
        need('blocks of the first answer are found', usage_of(second)[2] >= (n - 1) // 16 * 16, usage_of(second))


def stream_says_what_the_whole_says(_):
    with Engine('--speed', '100') as e:
        whole = e.chat(max_tokens=20)['choices'][0]['message']['content']
        events = events_of(e.ask('POST', '/v1/chat/completions', chat(
            max_tokens=20, stream=True, stream_options={'include_usage': True}))[2].decode())
        same('role first', events[0]['choices'][0]['delta'], {'role': 'assistant', 'content': ''})
        tokens = [c['choices'][0] for c in events[1:-1]]
        same('an event for each token', len(tokens), 20)
        same('text', ''.join(t['delta']['content'] for t in tokens), whole)
        same('finish', [t['finish_reason'] for t in tokens], [None] * 19 + ['length'])
        same('no choice with the usage', events[-1]['choices'], [])
        same('completion tokens', usage_of(events[-1])[1], 20)
        body = {'prompt': 'Once', 'max_tokens': 6}
        whole = e.json('/v1/completions', body)['choices'][0]['text']
        events = events_of(e.ask('POST', '/v1/completions', {**body, 'stream': True})[2].decode())
        same('completion', ''.join(c['choices'][0]['text'] for c in events), whole)
        same('of six tokens', len(events), 6)


def lengths_and_ends(_):
    with Engine('--speed', '1000', '--answer-tokens', '10', '--max-model-len', '200') as e:
        for more, n, finish in (({}, 10, 'stop'), ({'max_tokens': 5}, 5, 'length'), ({'max_tokens': 50}, 10, 'stop'),
                                ({'max_completion_tokens': 3}, 3, 'length'),
                                ({'max_tokens': 50, 'ignore_eos': True}, 50, 'length'),
                                ({'max_tokens': 1}, 1, 'length')):
            answer = e.json('/v1/completions', {'prompt': 'Once upon a time', **more})
            same(f'{more}: tokens', answer['usage']['completion_tokens'], n)
            same(f'{more}: finish', answer['choices'][0]['finish_reason'], finish)
            same(f'{more}: text', len(answer['choices'][0]['text']), 4 * n)
        answer = e.json('/v1/completions', {'prompt': [7] * 195})
        same('what room there is', answer['usage']['completion_tokens'], 5)


def wrong_requests(_):
    with Engine('--speed', '1000') as e:
        for path, body in (('/v1/chat/completions', '{"messages": ['), ('/v1/chat/completions', '{} x'),
                           ('/v1/chat/completions', ''), ('/v1/chat/completions', '[]'),
                           ('/v1/chat/completions', {'messages': 'hello'}),
                           ('/v1/chat/completions', {'messages': [{'content': 'x'}]}),
                           ('/v1/chat/completions', chat(n=2)), ('/v1/chat/completions', chat(max_tokens=0)),
                           ('/v1/chat/completions', chat(max_tokens='many')),
                           ('/v1/chat/completions', chat(max_tokens=10 ** 9)),
                           ('/v1/chat/completions', chat(cache_salt='')),
                           ('/v1/chat/completions', chat(stream_options={'include_usage': True})),
                           ('/v1/chat/completions', chat(tools=[{'type': 'function', 'function': {'name': 'f'}}],
                                                         tool_choice={'type': 'function', 'function': {'name': 'g'}})),
                           ('/v1/completions', {'prompt': ['a', 'b']}), ('/v1/completions', {'prompt': [1, 'a']}),
                           ('/v1/completions', {'prompt': []}), ('/v1/completions', {}), ('/tokenize', {}),
                           ('/v1/chat/completions/render', {})):
            error = e.json(path, body, 400)['error']
            same(f'{body}: members', sorted(error), ['code', 'message', 'param', 'type'])
            same('code', error['code'], 400)
        e.json('/v1/chat/completions', chat() | {'model': 'x"y'}, 404)
        e.json('/nothing', {}, 404)
        e.json('/v1/models', {}, 405)
        same('and it still answers', e.chat()['object'], 'chat.completion')


WEATHER = {'type': 'function', 'function': {'name': 'get_weather', 'parameters': {'type': 'object', 'properties': {
    'city': {'type': 'string'}, 'days': {'type': 'integer'}, 'unit': {'enum': ['celsius', 'kelvin']},
    'größe': {'type': 'object', 'properties': {'a"b': {'type': 'boolean'}}}, 'list': {'type': 'array'}}}}}
ARGUMENTS = {'city': 'filler', 'days': 1, 'unit': 'celsius', 'größe': {'a"b': True}, 'list': []}


def functions_are_called(_):
    with Engine('--speed', '1000') as e:
        for more, calls in (({'tool_choice': 'required'}, 1), ({'text': 'Please call get_weather.'}, 1), ({}, 0),
                            ({'tool_choice': 'none', 'text': 'Please call get_weather.'}, 0),
                            ({'tool_choice': {'type': 'function', 'function': {'name': 'get_weather'}}}, 1)):
            more = {'tools': [WEATHER], 'max_tokens': 200, **more}
            choice = e.chat(**more)['choices'][0]
            same(f'{more}: calls', len(choice['message'].get('tool_calls', [])), calls)
            if not calls:
                continue
            call = choice['message']['tool_calls'][0]
            same('content', choice['message']['content'], None)
            same('finish', choice['finish_reason'], 'tool_calls')
            same('name', (call['type'], call['function']['name']), ('function', 'get_weather'))
            same('arguments', json.loads(call['function']['arguments']), ARGUMENTS)
            events = events_of(e.ask('POST', '/v1/chat/completions', chat(stream=True, **more))[2].decode())
            deltas = [t['choices'][0]['delta']['tool_calls'][0] for t in events[1:]]
            names = [d['function'].get('name') for d in deltas]
            same('name, once', names, ['get_weather'] + [None] * (len(deltas) - 1))
            same('arguments', json.loads(''.join(d['function']['arguments'] for d in deltas)), ARGUMENTS)
            same('finish', events[-1]['choices'][0]['finish_reason'], 'tool_calls')


def tokens_are_one_prompts_everywhere(_):
    with Engine('--speed', '1000', count=2) as e:
        parts = [{'type': 'text', 'text': 'Käse und '}, {'type': 'text', 'text': 'Brot'},
                 {'type': 'image_url', 'image_url': {'url': 'x'}}]
        messages = [{'role': 'user', 'content': parts}]
        body = {'messages': messages, 'tools': [WEATHER], 'max_tokens': 4, 'return_token_ids': True}
        ids = e.json('/tokenize', body)['tokens']
        need('ids are of the vocabulary', all(0 < i < 131072 for i in ids))
        same('render', e.json('/v1/chat/completions/render', body)['token_ids'], ids)
        same('another engine', e.json('/tokenize', body, i=1)['tokens'], ids)
        answer = e.json('/v1/chat/completions', body)
        same('the answer', answer['prompt_token_ids'], ids)
        same('as many', len(ids), answer['usage']['prompt_tokens'])
        ids = e.json('/tokenize', {'prompt': 'Once upon'})['tokens']
        same('completions', e.json('/v1/completions/render', {'prompt': 'Once upon'})[0]['token_ids'], ids)
        same('given as ids', e.json('/v1/completions/render', {'prompt': ids})[0]['token_ids'], ids)
        one, two = (e.json('/v1/completions', {'prompt': ids, 'max_tokens': 4}, i=i)['choices'] for i in range(2))
        same('one answer everywhere', one, two)


# ---- load ------------------------------------------------------------------------------------------------------------

def begin_stream(e, **more):
    """A stream that has begun; its connection."""
    c = e.connect()
    c.request('POST', '/v1/chat/completions', json.dumps(chat(stream=True, ignore_eos=True, **more)))
    r = c.getresponse()
    same('status', r.status, 200)
    r.readline()
    return c, r


def load_shows_and_clients_may_leave(_):
    with Engine('--speed', '0.5', '--lora', 'one', '--lora', 'two', '--max-num-seqs', '1') as e:
        same('models', [m['id'] for m in e.json('/v1/models')['data']], [MODEL, 'one', 'two'])
        same('parents', [m['parent'] for m in e.json('/v1/models')['data']], [None, MODEL, MODEL])
        first, r = begin_stream(e, model='one', max_tokens=5000)
        second = e.connect()
        second.request('POST', '/v1/chat/completions', json.dumps(chat(model='two')))
        eventually('one waits', lambda: e.number('vllm:num_requests_waiting') == 1)
        page = e.get('/metrics')[2].decode()
        same('running', figure(page, 'vllm:num_requests_running'), 1)
        need('blocks in use', figure(page, 'vllm:kv_cache_usage_perc') > 0)
        info = re.search(r'^vllm:lora_requests_info\{(.*)\} (\S+)', page, re.M)
        same('adapters', info.group(1), 'max_lora="2",running_lora_adapters="one",waiting_lora_adapters="two"')
        need('as of now', abs(float(info.group(2)) - time.time()) < 3600)
        same('not now', e.json('/reset_prefix_cache', {}), {'success': False})
        r.close()
        first.close()
        same('the second one runs now', second.getresponse().status, 200)
        second.close()
        eventually('nobody is left', lambda: e.number('vllm:num_requests_running') == 0)
        same('aborted', e.number('vllm:request_success_total', 'abort'), 1)
        same('no block in use', e.number('vllm:kv_cache_usage_perc'), 0)
        hits = [usage_of(e.chat(model=m, system='z' * 400))[2] > 0 for m in ('one', 'one', 'two', MODEL, 'two')]
        same('adapters have caches of their own', hits, [False, True, False, False, True])


def takes_the_time_the_model_says(_):
    with Engine('--speed', '4') as e:
        begin = time.monotonic()
        e.chat(max_tokens=64, ignore_eos=True)
        took = time.monotonic() - begin
        need('64 steps of 11.8 ms, four times as fast', took > 64 * 0.0118 / 4 * 0.98, took)
        gaps = e.number('vllm:inter_token_latency_seconds_count')
        same('gaps', gaps, 63)


def many_at_a_time(_):
    with Engine('--speed', '1000', '--kv-tokens', '4096') as e:
        connections = [e.connect() for _ in range(40)]
        for i, c in enumerate(connections):
            c.request('POST', '/v1/chat/completions', json.dumps(chat(str(i % 7), max_tokens=100, ignore_eos=True,
                                                                      stream=i % 2 == 0)))
        for i, c in enumerate(connections):
            text = c.getresponse().read().decode()
            if i % 2:
                same('tokens', json.loads(text)['usage']['completion_tokens'], 100)
            else:
                same('events', len(events_of(text)), 101)
            c.close()
        same('generated', e.number('vllm:generation_tokens_total'), 4000)


def idle_engines_sleep(_):
    def switches(pid):
        total = 0
        for task in os.listdir(f'/proc/{pid}/task'):
            with open(f'/proc/{pid}/task/{task}/status', encoding='ascii') as f:
                total += sum(int(line.split()[1]) for line in f if 'ctxt_switches' in line)
        return total
    with Engine('--kv-events', count=4) as e:
        for i in range(4):
            e.json('/v1/chat/completions', chat(), i=i)
        before = [switches(e.process.pid)]

        def rests():
            time.sleep(1)
            now = switches(e.process.pid)
            before[0], woken = now, now - before[0]
            return woken <= 4
        eventually('a second without waking up', rests)


# ---- events ----------------------------------------------------------------------------------------------------------

def cbor_head(kind, n):
    if n < 24:
        return bytes([kind << 5 | n])
    for code, form in ((24, '>B'), (25, '>H'), (26, '>I')):
        if n < 1 << 8 * struct.calcsize(form):
            return bytes([kind << 5 | code]) + struct.pack(form, n)
    raise ValueError(n)


def cbor(value):
    if value is None:
        return b'\xf6'
    if isinstance(value, int):
        return cbor_head(0, value)
    if isinstance(value, bytes):
        return cbor_head(2, len(value)) + value
    if isinstance(value, str):
        return cbor_head(3, len(value.encode())) + value.encode()
    return cbor_head(4, len(value)) + b''.join(cbor(v) for v in value)


def names_of(ids, size, first_extra=None, lora=None):
    """What vLLM calls the blocks, with sha256_cbor and the seed 0."""
    digest, names = hashlib.sha256(cbor('0')).digest(), []
    for i in range(len(ids) // size):
        extra = ([['lora', lora, lora]] if lora else []) + ([first_extra] if first_extra and i == 0 else [])
        digest = hashlib.sha256(cbor([digest, ids[i * size:(i + 1) * size], extra or None])).digest()
        names.append(int.from_bytes(digest[-8:], 'big'))
    return names


class Listener:
    def __init__(self, e):
        self.socket = zmtp.Socket(b'SUB', e.events, PATIENCE)
        self.socket.subscribe(b'kv@')
        self.engine = e
        end = time.monotonic() + PATIENCE  # until the subscription has arrived
        self.socket.socket.settimeout(0.2)
        while True:
            e.json('/v1/completions', {'prompt': [9] * 64, 'cache_salt': str(time.monotonic()), 'max_tokens': 1})
            try:
                self.seq = self.message()[0]
                break
            except TimeoutError:
                need('the subscription arrives', time.monotonic() < end)
        self.socket.socket.settimeout(PATIENCE)

    def message(self):
        topic, seq, payload = self.socket.receive()
        same('topic', topic.decode(), f'kv@127.0.0.1:{self.engine.ports[0]}@{MODEL}')
        _, events, rank = msgpack.decode(payload)
        same('rank', rank, 0)
        return int.from_bytes(seq, 'big'), events

    def stored(self):
        seq, events = self.message()
        same('number', seq, self.seq + 1)
        self.seq = seq
        return [x for x in events if x['type'] == 'BlockStored']


def events_name_what_was_computed(r):
    with Engine('--speed', '1000', '--kv-events', '--hash-algo', 'sha256_cbor', '--hash-seed', '0', '--lora',
                'one') as e:
        listener = Listener(e)
        for more, extra, lora in (({}, None, None), ({'cache_salt': 'tenant-a'}, ['cache_salt', 'tenant-a'], None),
                                  ({'model': 'one'}, None, 'one')):
            body = chat(max_tokens=40, ignore_eos=True, return_token_ids=True, **more)
            answer = e.json('/v1/chat/completions', body)
            ids = answer['prompt_token_ids'] + answer['choices'][0]['token_ids']
            names = names_of(ids[:-1], 16, extra, lora)  # nothing is computed for the last token
            told, tokens, parent = [], [], None
            while len(told) < len(names):
                for event in listener.stored():
                    same('parent', event['parent_block_hash'], told[-1] if told else None)
                    same('salt', event['extra_keys'], [['tenant-a'] if extra and not told and i == 0 else None
                                                       for i in range(len(event['block_hashes']))])
                    same('adapter', event['lora_name'], lora)
                    same('medium', (event['medium'], event['block_size']), ('GPU', 16))
                    told += event['block_hashes']
                    tokens += event['token_ids']
            same('names', told, names)
            same('tokens', tokens, ids[:len(names) * 16])
        if r.there:
            frame = json.loads(r.text('frames.jsonl').splitlines()[0])['frames'][2]
            same('members, in order', list(event), list(msgpack.decode(bytes.fromhex(frame))[1][0]))


def config_is_what_events_are(_):
    with Engine('--kv-events', '--block-size', '32', '--kv-tokens', '3072', '--hash-algo', 'xxhash_cbor', '--hash-seed',
                '1', '--max-model-len', '2048') as e:
        page = e.get('/metrics')[2].decode()
        for label in ('block_size="32"', 'num_gpu_blocks="96"', 'prefix_caching_hash_algo="xxhash_cbor"'):
            need('cache_config_info has', label in page, label)
        sources = e.json('/kv_event_sources')['0']
        same('endpoint', sources['endpoint'], e.events.replace('127.0.0.1', '*'))
        same('replay', sources['replay_endpoint'], e.replay.replace('127.0.0.1', '*'))
        same('topic', sources['topic'], f'kv@127.0.0.1:{e.ports[0]}@{MODEL}')


def engines_may_find_their_subscriber(_):
    """He listens; the engine connects. Its greeting is enough."""
    with socket.create_server(('127.0.0.1', 0)) as listener:
        listener.settimeout(PATIENCE)
        address = f'tcp://127.0.0.1:{listener.getsockname()[1]}'
        with Engine('--kv-events-connect', address) as e:
            s, _ = listener.accept()
            same('it speaks ZMTP', s.recv(1), b'\xff')
            s.close()
            same('printed', e.events, address)
            sources = e.json('/kv_event_sources')['0']
            same('endpoint', sources['endpoint'], address)
            same('replay', sources['replay_endpoint'], e.replay.replace('127.0.0.1', '*'))


def evictions_and_resets_are_told(_):
    with Engine('--speed', '1000', '--kv-events', '--kv-tokens', '1024') as e:
        listener, held = Listener(e), set()

        def hear(until):
            while True:
                for event in listener.message()[1]:
                    if event['type'] == 'BlockStored':
                        held.update(event['block_hashes'])
                    elif event['type'] == 'BlockRemoved':
                        held.difference_update(event['block_hashes'])
                    else:
                        held.clear()
                    if event['type'] == until:
                        return
        for i in range(5):
            e.json('/v1/completions', {'prompt': [i] * 512, 'max_tokens': 4})
        e.json('/reset_prefix_cache', {})
        hear('BlockRemoved')
        need('no more than fit', len(held) <= 64, len(held))
        hear('AllBlocksCleared')
        same('nothing is held', held, set())


def replay(e, start):
    s = zmtp.Socket(b'DEALER', e.replay, PATIENCE)
    s.send([b'', struct.pack('>Q', start)])
    numbers = []
    while True:
        parts = s.receive()
        same('frames', (len(parts), parts[0]), (4, b''))
        if parts[2] == b'\xff' * 8:
            same('end mark', (parts[1], parts[3]), (b'', b''))
            s.close()
            return numbers
        msgpack.decode(parts[3])
        numbers.append(int.from_bytes(parts[2], 'big'))


def gaps_and_restarts(_):
    with Engine('--speed', '1000', '--kv-events') as e:
        listener = Listener(e)

        def compute(i):
            e.json('/v1/completions', {'prompt': [i] * 64, 'max_tokens': 1})
        e.fault('gap', count=2)
        for i in range(3):
            compute(100 + i)
        same('two are missing', listener.message()[0], listener.seq + 3)
        same('and can be had', replay(e, listener.seq + 1), [listener.seq + 1, listener.seq + 2, listener.seq + 3])
        same('the future is empty', replay(e, 10 ** 6), [])
        e.fault('gap', count=1, lost=True)
        for i in range(2):
            compute(200 + i)
        same('one is missing', listener.message()[0], listener.seq + 5)
        same('for good', replay(e, listener.seq + 4), [listener.seq + 5])
        e.fault('slow', count=1, first_ms=0, token_ms=1000 * PATIENCE)
        c, r = begin_stream(e, max_tokens=100)
        e.fault('restart')
        try:
            r.read()
            raise Wrong('the stream should have been reset')
        except (ConnectionError, http.client.IncompleteRead):
            pass
        c.close()
        same('nothing runs', e.number('vllm:num_requests_running'), 0)
        same('counters begin at 0', e.number('vllm:prompt_tokens_total'), 0)
        compute(100)
        while listener.message()[0]:  # those of the stream come first
            pass
        same('numbers begin at 0', replay(e, 0), [0])


# ---- faults ----------------------------------------------------------------------------------------------------------

def faults_of_answers(_):
    with Engine('--speed', '1000') as e:
        for kind in (500, 503, '429'):
            e.fault(kind, count=1)
            error = e.json('/v1/chat/completions', chat(), int(kind))['error']
            same('code', error['code'], int(kind))
            e.chat()
        for kind, more in (('reset', {'bytes': 0}), ('reset', {'bytes': 100}), ('half', {})):
            for stream in (False, True):
                e.fault(kind, count=1, **more)
                try:
                    body = e.ask('POST', '/v1/chat/completions', chat(stream=stream))[2]
                    raise Wrong(f'{kind}: a whole answer of {len(body)} bytes')
                except http.client.IncompleteRead as broken:
                    need(f'{kind}: some of it', not more or len(broken.partial) <= more['bytes'], broken.partial)
                except ConnectionError:
                    pass
        e.fault('junk', count=1)
        status, _, text = e.ask('POST', '/v1/chat/completions', chat())
        need('junk', status == 200 and b'\xff' in text)
        e.fault('hang', count=1)
        c = e.connect()
        c.timeout = 0.3
        c.request('POST', '/v1/chat/completions', json.dumps(chat()))
        try:
            c.getresponse()
            raise Wrong('an answer')
        except TimeoutError:
            c.close()
        e.fault('slow', count=1, first_ms=200, token_ms=20)
        begin = time.monotonic()
        same('whole', len(events_of(e.ask('POST', '/v1/chat/completions', chat(stream=True))[2].decode())), 9)
        need('slow', time.monotonic() - begin >= 0.2 + 7 * 0.02 - 0.01, time.monotonic() - begin)
        e.chat()


def faults_of_connections(_):
    with Engine('--speed', '1000') as e:
        e.fault('close', count=1)
        c = e.connect()
        c.request('POST', '/v1/chat/completions', json.dumps(chat()))
        same('the first one on it', c.getresponse().read()[:1], b'{')
        c.request('POST', '/v1/chat/completions', json.dumps(chat()))
        try:
            c.getresponse()
            raise Wrong('an answer')
        except (http.client.RemoteDisconnected, ConnectionError):
            c.close()
        e.chat()
    with Engine('--speed', '1000', '--max-requests', '2') as e:
        c = e.connect()
        seen = []
        for _ in range(2):
            c.request('GET', '/health')
            r = c.getresponse()
            r.read()
            seen.append(r.headers['connection'])
        same('after two', seen, [None, 'close'])
        c.close()
    with Engine('--speed', '1000', '--idle-ms', '100') as e:
        with socket.create_connection(('127.0.0.1', e.ports[0]), timeout=PATIENCE) as s:
            same('hangs up', s.recv(1), b'')


def faults_of_metrics(_):
    with Engine() as e:
        right = e.get('/metrics')[2]
        for kind, check in (('nan', lambda t: b'NaN' in t), ('lie', lambda t: b'1e300' in t),
                            ('binary', lambda t: b'\0' in t), ('empty', lambda t: t == b'')):
            e.fault(kind, count=1)
            text = e.get('/metrics')[2]
            need(f'{kind} strikes', check(text), text[:200])
        e.fault('huge', count=1, bytes=3000000)
        need('huge', len(e.get('/metrics')[2]) >= 3000000)
        e.fault('404', count=1, path='/metrics')
        same('gone', e.get('/metrics')[0], 404)
        for kind, enough in (('endless', 20 * len(right)), ('drip', 5)):
            e.fault(kind, count=1, token_ms=1)
            c = e.connect()
            c.request('GET', '/metrics')
            r, got = c.getresponse(), 0
            while got < enough:
                got += len(r.read1(65536))
            r.close()
            c.close()
        same('as before', e.get('/metrics')[2][:200], right[:200])


def faults_are_listed(_):
    with Engine('--fault', 'slow:first_ms=5,probability=0.5', '--fault', '503:path=/v1/models,count=2') as e:
        listed = e.json('/fault')['faults']
        same('kinds', [(f['kind'], f['status'], f['path'], f['count']) for f in listed],
             [('slow', 0, '', None), ('error', 503, '/v1/models', 2)])
        same('strikes', [e.get('/v1/models')[0] for _ in range(3)], [503, 503, 200])
        same('used up', len(e.json('/fault')['faults']), 1)
        same('none', e.fault('none'), {'faults': []})
        for body in ('x', {}, {'kind': 'what'}, {'kind': 'slow', 'x': 1}, {'kind': 'slow', 'count': -1},
                     {'kind': 'gap'}):
            e.json('/fault', body, 400)


def last_request_is_kept(_):
    with Engine('--speed', '1000', '--record') as e:
        e.json('/received', status=404)
        c = e.connect()
        c.request('POST', '/v1/completions?x=1', '{"prompt": "a\\"b"}', {'X-One': 'two', 'x-one': 'three'})
        same('status', c.getresponse().status, 200)
        c.close()
        kept = e.json('/received')
        same('line', (kept['method'], kept['target']), ('POST', '/v1/completions?x=1'))
        same('headers', [h for h in kept['headers'] if h[0].lower() == 'x-one'], [['X-One', 'two'], ['x-one', 'three']])
        same('body', kept['body'], '{"prompt": "a\\"b"}')


def restart_after_somebody_left(_):
    with Engine('--speed', '0.05') as e:  # a step takes a quarter of a second
        c, r = begin_stream(e, max_tokens=1000)
        r.close()
        c.close()
        e.fault('restart')
        same('nothing runs', e.number('vllm:num_requests_running'), 0)
        same('not aborted: forgotten', e.number('vllm:request_success_total', 'abort'), 0)
        same('no block in use', e.number('vllm:kv_cache_usage_perc'), 0)


KINDS = ['reset', 'half', 'slow', 'hang', '503', 'junk', 'close', 'endless', 'drip', 'none', 'restart', 'gap']


def come_and_go(e, dice, requests):
    """Clients that pipeline, break off, and look at metrics, while everything goes wrong."""
    for _ in range(requests):
        try:
            if dice.random() < 0.1:
                kind = dice.choice(KINDS)
                more = {} if kind in ('none', 'restart') else {'count': dice.randint(1, 3)}
                more |= {'first_ms': 5, 'token_ms': 1} if kind in ('slow', 'drip') else {}
                e.fault(kind, **more)
                continue
            with socket.create_connection(('127.0.0.1', e.ports[0]), timeout=0.1) as s:
                for _ in range(dice.randint(1, 3)):
                    body = json.dumps({'prompt': 'abc ' * dice.choice([1, 50, 300]) + str(dice.randint(0, 5)),
                                       'max_tokens': dice.choice([1, 2, 30, 200]), 'stream': dice.random() < 0.6,
                                       'ignore_eos': True}).encode()
                    line = b'GET /metrics' if dice.random() < 0.1 else b'POST /v1/completions'
                    s.sendall(line + b' HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n' % len(body) + body)
                for _ in range(dice.choice([0, 1, 2, 5, 50])):
                    if not s.recv(dice.choice([10, 100, 10000])):
                        break
                if dice.random() < 0.3:
                    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
        except OSError:
            pass


def clients_come_and_go(_):
    with Engine('--speed', '50', '--kv-events', '--kv-tokens', '4096', '--max-num-seqs', '16', '--cpu-tokens',
                '8192') as e:
        threads = [threading.Thread(target=come_and_go, args=(e, random.Random(i), 25)) for i in range(8)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        e.fault('none')
        eventually('nobody is left', lambda: e.number('vllm:num_requests_running') + e.number(
            'vllm:num_requests_waiting') == 0)
        same('no block in use', e.number('vllm:kv_cache_usage_perc'), 0)
        e.chat()


# ---- at once ---------------------------------------------------------------------------------------------------------

def instant_engines(_):
    with Engine('--instant', '--answer-tokens', '5', count=3) as e:
        text = 'a quote \\" and [brackets}, ' * 8000
        body = '{"model": "%s", "messages": [{"role": "user", "content": "%s"}], "x": {"stream": true}}' % (MODEL, text)
        for i in range(3):
            answer = e.json('/v1/chat/completions', body, i=i)
            same('tokens', usage_of(answer), ((len(body) + 3) // 4, 5, 0))
        same('fingerprints', len({e.json('/v1/completions', {}, i=i)['system_fingerprint'] for i in range(3)}), 3)
        events = events_of(e.ask('POST', '/v1/chat/completions', chat(
            stream=True, max_tokens=3, stream_options={'include_usage': True}))[2].decode())
        same('events', len(events), 5)
        same('usage', usage_of(events[-1])[1], 3)
        events = events_of(e.ask('POST', '/v1/chat/completions', chat(stream=True, max_tokens=4))[2].decode())
        same('no usage', len(events), 5)
        for body in ('', '[]', '{', '{"a": 1', '{"a" 1}', '{"a": "', '{"a": [1}', '{"a":}'):
            e.json('/v1/chat/completions', body, 400)
        e.json('/v1/chat/completions', {'model': 'nope'}, 404)
        same('counted', e.number('vllm:request_success_total', 'length'), 2)
        same('sources', e.json('/kv_event_sources'), {})


def slow_reader_stops_nobody(_):
    with Engine('--instant', '--max-model-len', '1000000000') as e:
        def resident():
            with open(f'/proc/{e.process.pid}/statm', encoding='ascii') as f:
                return int(f.read().split()[1]) * os.sysconf('SC_PAGE_SIZE')
        before = resident()
        s = socket.create_connection(('127.0.0.1', e.ports[0]), timeout=PATIENCE)
        body = json.dumps(chat(stream=True, max_tokens=60000)).replace(LONG, 'x')
        head = f'POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n'
        s.sendall((head + body).encode())
        same('others are served', e.json('/v1/completions', {'max_tokens': 1})['usage']['completion_tokens'], 1)
        grown = resident() - before
        need('of 14 MB little waits in memory', grown < 8 << 20, grown)
        got = b''
        while not got.endswith(b'0\r\n\r\n'):
            piece = s.recv(1 << 20)
            need('it goes on', piece)
            got = got[-8:] + piece
        s.close()


# ---- others' clients -------------------------------------------------------------------------------------------------

def prometheus_reads_the_page(_):
    with Engine('--speed', '1000', '--lora', 'one', '--page-bytes', '60000', '--model', 'a"b\\c') as e:
        e.json('/v1/completions', {'prompt': 'x'})
        page = e.get('/metrics')[2]
        run = subprocess.run(['promtool', 'check', 'metrics'], input=page, capture_output=True, timeout=PATIENCE)
        # What it dislikes of vLLM's names is vLLM's; a page it cannot read is ours.
        lines = [line for line in run.stderr.decode().splitlines()
                 if "should not contain ':'" not in line and '_total" suffix' not in line]
        need('promtool', run.returncode in (0, 3) and not lines, lines)


OPENAI = '''
import json, sys
from openai import OpenAI, NotFoundError
client = OpenAI(base_url=sys.argv[1], api_key='x', max_retries=0)
ask = dict(model='llmd-filler', messages=[{'role': 'user', 'content': 'hello'}], max_tokens=7)
answer = client.chat.completions.create(**ask)
text = ''.join(c.choices[0].delta.content or '' for c in client.chat.completions.create(stream=True, **ask))
tools = json.loads(sys.argv[2])
call = client.chat.completions.create(tools=tools, tool_choice='required', **{**ask, 'max_tokens': 99}).choices[0]
try:
    client.chat.completions.create(**{**ask, 'model': 'nope'})
except NotFoundError as error:
    refused = error.body['type']
print(json.dumps([answer.usage.completion_tokens, text == answer.choices[0].message.content,
                  call.message.tool_calls[0].function.name, call.finish_reason, refused,
                  [m.id for m in client.models.list()]]))
'''


def openai_client(_):
    with Engine('--speed', '1000') as e:
        run = subprocess.run([os.environ['LLMD_PYTHON'], '-c', OPENAI, f'http://127.0.0.1:{e.ports[0]}/v1',
                              json.dumps([WEATHER])], capture_output=True, timeout=2 * PATIENCE)
        need('it ran', run.returncode == 0, run.stderr.decode())
        same('answers', json.loads(run.stdout), [7, True, 'get_weather', 'tool_calls', 'NotFoundError', [MODEL]])


def command_line(_):
    def run(*args):
        r = subprocess.run(tap.program(Engine.program) + ['engine', *args], capture_output=True, timeout=PATIENCE)
        return r.returncode, r.stdout.decode(), r.stderr.decode()
    code, out, err = run('--help')
    need('honest help', code == 0 and 'filler text' in out and 'stand-in' in out and not err, err)
    for args in (['--port', '70000'], ['--speed', '0'], ['--fault', 'what'], ['--fault', 'slow:x=1'], ['--nothing'],
                 ['x'], ['--hash-algo', 'md5'], ['--hash-algo', 'xxhash'], ['--instant', '--kv-events'],
                 ['--kv-tokens', '8'], ['--count', '2', '--kv-events-port', '5557'], ['--lora', 'a,b'],
                 ['--kv-events-connect', '127.0.0.1:1'], ['--max-model-len', '100000000']):
        code, out, err = run(*args)
        need(f'{args}: wrong usage', code == 2 and not out and '--help' in err, (code, err))
    with Engine() as e:
        code, out, err = run('--port', str(e.ports[0]))
        need('a port that is taken', code == 1 and err, (code, err))
    reader, writer = os.pipe()
    process = subprocess.Popen(tap.program(Engine.program) + ['engine', '--port', '0', '--ready-fd', str(writer)],
                               pass_fds=[writer], stderr=subprocess.DEVNULL)
    os.close(writer)
    with os.fdopen(reader) as f:
        need('ready', f.read().startswith('engine: listening on 127.0.0.1:'))
    process.send_signal(2)
    same('ended by SIGINT', process.wait(PATIENCE), 0)


RECORDED = [against_recordings, refusals_against_recordings, streams_against_recordings, metrics_against_recordings]
POINTS = [command_line, second_prompt_is_cached, conversation_goes_on_from_its_answers, stream_says_what_the_whole_says,
          lengths_and_ends, wrong_requests, functions_are_called, tokens_are_one_prompts_everywhere,
          load_shows_and_clients_may_leave, takes_the_time_the_model_says, many_at_a_time, idle_engines_sleep,
          events_name_what_was_computed, engines_may_find_their_subscriber,
          config_is_what_events_are, evictions_and_resets_are_told, gaps_and_restarts,
          restart_after_somebody_left, clients_come_and_go, faults_of_answers,
          faults_of_connections, faults_of_metrics, faults_are_listed, last_request_is_kept,
          instant_engines, slow_reader_stops_nobody]


def attempt(point, recorded, skip=None):
    name = point.__name__.replace('_', ' ')
    if skip:
        tap.point(name, skip=skip)
        return
    try:
        point(recorded)
        tap.point(name)
    except Exception as error:  # noqa: BLE001: whatever it is, it is this point's failure
        kind = '' if isinstance(error, Wrong) else type(error).__name__ + ': '
        tap.point(name, (kind + str(error)).splitlines()[:40])


def main(program, root):
    Engine.program = program
    recorded = Recorded(root)
    only = os.environ.get('ENGINE_ONLY', '')
    for point in RECORDED:
        if only in point.__name__:
            attempt(point, recorded, None if recorded.there else 'needs recordings of vLLM in ../shared')
    for point in POINTS:
        if only in point.__name__:
            attempt(point, recorded)
    if not only:
        attempt(prometheus_reads_the_page, recorded, None if shutil.which('promtool') else 'needs promtool')
        attempt(openai_client, recorded, None if os.environ.get('LLMD_PYTHON') else 'needs LLMD_PYTHON with openai')
    tap.done()


main(sys.argv[1], sys.argv[2])
