#!/usr/bin/env python3
"""`llmd serve` as clients meet it: OpenAI's own, curl, and who reads its metrics. serve.py LLMD. Prints TAP.

LLMD_PYTHON names a Python that has the packages openai and prometheus_client; without it their points are skipped.
"""
import http.client
import json
import os
import re
import shutil
import signal
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.dont_write_bytecode = True
sys.path.insert(0, HERE)
sys.path.insert(0, os.path.join(HERE, '..', 'lint'))
import tap  # noqa: E402
from world import (MODEL, PATIENCE, Raw, World, Wrong, ask, chat, figures, need, same, until,  # noqa: E402
                   until_running)

PYTHON = os.environ.get('LLMD_PYTHON')


def missing(module):
    """Why a point that needs a package is skipped; None when it is there."""
    if PYTHON and subprocess.run([PYTHON, '-c', f'import {module}'], stderr=subprocess.DEVNULL,
                                 check=False).returncode == 0:
        return None
    return f'needs {module} (LLMD_PYTHON)'


# ---- OpenAI's client -------------------------------------------------------------------------------------------------

SEEN = {
    'whole': [9, 'length'], 'stream': True, 'stream with usage': True, 'stream that says no': [],
    'tools': ['get_weather', ['city', 'days']], 'tools in a stream': ['get_weather', ['city', 'days']],
    'long': [True, 'length'], 'completion': 5, 'models': [MODEL], 'unknown model': [404, 'NotFoundError', True],
}


def openai_client(world):
    world.start_engines(2, '--speed', '100')
    serve = world.start_serve()
    client = subprocess.Popen([PYTHON, os.path.join(HERE, 'openai_client.py'), f'http://127.0.0.1:{serve.port}/v1'],
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        line = client.stdout.readline()
        if not line:
            raise Wrong(client.communicate(timeout=PATIENCE)[1].decode())
        seen = json.loads(line)
        for name, wanted in SEEN.items():
            same(name, seen[name], wanted)
        same('it', client.stdout.readline(), b'left\n')
        until_running(world.engines, 0)
        until('nothing in flight', lambda: serve.in_flight() == 0)
        same('still there', client.poll(), None)
        line = until('its line', lambda: [x for x in serve.lines() if x['status'] == 499])
        same('left', [(x['stream'], x['reason'], x['output_tokens'] if 'output_tokens' in x else 0) for x in line],
             [(True, 'client left', 0)])
    finally:
        client.kill()
        client.communicate()


def usage_is_asked_for_behind_the_client(world):
    """The engine is asked for usage in every stream; the client gets that chunk if it has asked, too, and just once."""
    engine, = world.start_engines(1, '--speed', '100', '--record')
    serve = world.start_serve()
    for options, chunks in ((None, 0), ({'include_usage': False}, 0), ({'include_usage': True}, 1)):
        more = {'stream_options': options} if options else {}
        with Raw(serve.port) as c:
            got = c.post(chat(stream=True, **more), more='x-request-id: asked-%d\r\n' % chunks).answer()
        same(f'{options}: chunks of usage', len([e for e in got.events() if e.get('usage')]), chunks)
        same(f'{options}: chunks without a choice', len([e for e in got.events() if not e['choices']]), chunks)
        body = json.loads(json.loads(engine.received())['body'])
        same(f'{options}: what the engine got', body['stream_options']['include_usage'], True)
        same(f'{options}: the rest of the body', {k: v for k, v in body.items() if k != 'stream_options'},
             chat(stream=True))
        line = serve.line('asked-%d' % chunks)
        same(f'{options}: the log', (line['output_tokens'], line['stream']), (8, True))


# ---- curl ------------------------------------------------------------------------------------------------------------

class Curl:
    def __init__(self, world, path, *args, data=None):
        out = world.path('curl.out')
        if os.path.exists(out):
            os.unlink(out)
        run = subprocess.run(
            ['curl', '-sSv', '--max-time', str(int(PATIENCE)), '-o', out, '-w',
             '%{http_code} %{num_connects} %{size_upload}\n', *args, f'http://127.0.0.1:{world.serve.port}{path}'],
            input=data, capture_output=True, check=False)
        self.code, self.said = run.returncode, run.stderr.decode('latin-1')
        self.status, self.connects, self.sent = (int(n) for n in run.stdout.split()[-3:])
        self.body = open(out, 'rb').read() if os.path.exists(out) else b''

    def json(self):
        return json.loads(self.body)


JSON = ('-H', 'Content-Type: application/json')


def curl_bodies(world):
    """Expect, chunks, limits."""
    world.start_engines(1, '--speed', '100', '--max-model-len', '1000000', '--kv-tokens', '1000000')
    world.start_serve('--set', 'limits.body=3MiB')
    long = json.dumps(chat('x' * 2000000, max_tokens=2)).encode()
    chunked, expect, at_once = (['-H', header] for header in (
        'Transfer-Encoding: chunked', 'Expect: 100-continue', 'Expect:'))
    for more, text in ((expect, '100 Continue'), (chunked, 'chunked'), (chunked + expect, '100 Continue')):
        got = Curl(world, '/v1/chat/completions', *JSON, *more, '--data-binary', '@-', data=long)
        same(f'{more}: code, status', (got.code, got.status), (0, 200))
        need(f'{more}: it read', got.json()['usage']['prompt_tokens'] > 499999, got.body)
        need(f'{more}: said', text in got.said, got.said)
    same('not continued when nobody asked', '100 Continue' in Curl(
        world, '/v1/chat/completions', *JSON, *at_once, '--data-binary', '@-', data=long).said, False)
    long = json.dumps(chat('x' * 4000000)).encode()
    for more in (expect, at_once, chunked + at_once):
        got = Curl(world, '/v1/chat/completions', *JSON, *more, '--data-binary', '@-', data=long)
        same(f'too large, {more}', got.status, 413)
        same('an error as OpenAI has it', sorted(got.json()['error']), ['code', 'message', 'param', 'type'])
        if more is expect:
            same('and nothing of it was sent', got.sent, 0)
    until('three are counted', lambda: world.serve.figure('llmd_proxy_refused_total', '413') == 3)


def curl_versions(world):
    """HTTP/1.0, HEAD, a connection that is kept."""
    engine, = world.start_engines(1, '--speed', '100')
    serve = world.start_serve()
    one = json.dumps(chat())
    got = Curl(world, '/v1/chat/completions', *JSON, '--http1.0', '-d', one)
    same('HTTP/1.0', (got.code, got.status, got.json()['usage']['completion_tokens']), (0, 200, 8))
    need('is told that it ends', re.search(r'(?i)^< connection: close', got.said, re.M), got.said)
    got = Curl(world, '/v1/chat/completions', *JSON, '--http1.0', '-d', json.dumps(chat(stream=True)))
    same('a stream', (got.code, got.status, got.body.count(b'data: ')), (0, 200, 10))
    need('to its end', got.body.endswith(b'\n\ndata: [DONE]\n\n'), got.body)
    need('without chunks', not re.search(r'(?i)^< transfer-encoding', got.said, re.M), got.said)
    for path in ('/health', '/v1/models', '/no/such'):
        got = Curl(world, path, '-I')
        same(f'HEAD {path}', (got.code, got.status, got.body[:5]), (0, ask(engine.port, 'HEAD', path)[0], b'HTTP/'))
    url = f'http://127.0.0.1:{serve.port}/v1/chat/completions'
    got = Curl(world, '/v1/chat/completions', *JSON, '-d', one, url, '-o', world.path('two'), url, '-o',
               world.path('three'))
    same('three on one connection', (got.code, got.status, got.connects), (0, 200, 0))


def curl_passes(world):
    """What is not known passes as it is: multipart, other paths and methods, queries, bodies of any kind."""
    engine, = world.start_engines(1, '--speed', '100', '--record')
    world.start_serve()
    world.write('sound.txt', 'no JSON {"model": 1}\r\n--x\r\n' * 1000)
    got = Curl(world, '/v1/audio/transcriptions', '-F', 'model=' + MODEL, '-F', f'file=@{world.path("sound.txt")}')
    same('multipart: the engine has no such path', (got.code, got.status), (0, 404))
    sent = json.loads(engine.received())
    kind = dict((k.lower(), v) for k, v in sent['headers'])['content-type']
    edge = re.match(r'multipart/form-data; boundary=(\S+)$', kind).group(1)
    parts = sent['body'].split('--' + edge)
    same('parts', (len(parts), parts[-1]), (4, '--\r\n'))
    same('the file', parts[2].split('\r\n\r\n', 1)[1], 'no JSON {"model": 1}\r\n--x\r\n' * 1000 + '\r\n')
    for path in ('/any/path?and=query&x=%41%2f', '/v1/../x//y', '/v1/files?purpose=a'):
        Curl(world, path, '--path-as-is', '-H', 'Content-Type: text/plain', '--data-binary', 'as it is')
        sent = json.loads(engine.received())
        same('what came', (sent['target'], sent['body']), (path, 'as it is'))
    for method in ('GET', 'DELETE', 'OPTIONS', 'PUT', 'PATCH'):
        got = Curl(world, '/no/such', '-X', method)
        status, _, body = ask(engine.port, method, '/no/such')
        same(method, (got.code, got.status, got.body), (0, status, body))
    same('upgrade', Curl(world, '/v1/realtime', '-H', 'Connection: Upgrade', '-H', 'Upgrade: websocket').status, 501)


# ---- where it goes ---------------------------------------------------------------------------------------------------

def blocks_known(serve):
    return serve.figure('llm_d_epp_prefix_indexer_size')


def conversation(serve, n, turns):
    """The endpoints that its turns went to, as the answers say, and the tokens of each that were cached. Where it went
    is known to all workers a few milliseconds later: people read an answer before they go on, and so it is here."""
    text = f'You are assistant number {n}. ' + 'Be brief, be kind, be right, and never say more than you know. ' * 40
    messages = [{'role': 'system', 'content': text}]
    where, cached = [], []
    for turn in range(turns):
        known = blocks_known(serve)
        messages.append({'role': 'user', 'content': f'Question {turn} of {n}: what now? ' * 20})
        with Raw(serve.port) as c:
            got = c.post({**chat(max_tokens=32), 'messages': messages},
                         more=f'x-request-id: talk-{n}-{turn}\r\n').answer()
        same('status', got.status, 200)
        answer = got.json()
        messages.append(answer['choices'][0]['message'])
        where.append(got.headers['x-engine'])
        cached.append(answer['usage']['prompt_tokens_details']['cached_tokens'])
        until('its last blocks are in the index', lambda before=known: blocks_known(serve) > before)
    return where, cached


def prefixes_stay_where_they_are(world):
    world.start_engines(3, '--speed', '100')
    serve = world.start_serve('--workers', '2', '--set', 'log.explain=1000')
    homes = set()
    for n in range(6):
        where, cached = conversation(serve, n, 5)
        same(f'conversation {n} stays', where, where[:1] * 5)
        need('more is cached with every turn', cached == sorted(set(cached)) and cached[0] < 700 < cached[1], cached)
        homes.add(where[0])
        for turn in range(5):
            line = serve.line(f'talk-{n}-{turn}')
            same('the log says where', line['endpoint'], where[turn])
            same('and how much was cached', line['cached_tokens'], cached[turn])
            need('and why', line['score'] > 0 and line['attempts'] == 1 and line['decide_ms'] > 0, line)
    need('not all of them on one engine', len(homes) > 1, homes)
    decisions = {d['request_id']: d['explain']
                 for d in json.loads(serve.page('/explain'))['decisions']}
    shown = decisions['talk-5-4']
    same('explained', (shown['decision']['status'], shown['model']), ('routed', MODEL))
    same('picked', shown['profiles'][0]['picked'], ['default/' + serve.line('talk-5-4')['endpoint']])
    scorers = {s['name'] for s in shown['profiles'][0]['scorers']}
    need('scored', {'queue-scorer', 'prefix-cache-scorer'} <= scorers, scorers)


# ---- metrics ---------------------------------------------------------------------------------------------------------

def some_traffic(serve):
    """Twelve requests, every other one a stream, and one that is refused. What they came to, by our own counting."""
    total = {'sent': 0, 'received': 0, 'prompt': 0, 'output': 0, 'cached': 0}
    for i in range(12):
        body = json.dumps(chat('Tell me something. ' * (20 + i // 4), stream=bool(i % 2), max_tokens=5 + i, **(
            {'stream_options': {'include_usage': True}} if i % 2 else {}))).encode()
        with Raw(serve.port) as c:
            got = c.post(body, more=f'x-request-id: count-{i}\r\n').answer()
        usage = got.events()[-1]['usage'] if i % 2 else got.json()['usage']
        total['sent'] += len(body)
        total['received'] += len(got.body)
        total['prompt'] += usage['prompt_tokens']
        total['output'] += usage['completion_tokens']
        total['cached'] += usage['prompt_tokens_details']['cached_tokens']
    with Raw(serve.port) as c:
        same('refused', c.post({**chat(), 'model': 'nobody'}).answer().status, 404)
    return total


def sums_of(page):
    """What a page says of the model's series; figures() of it."""
    def of(name, more=''):
        found = [v for k, v in page.get('llm_d_epp_' + name, {}).items() if f'model_name="{MODEL}"' in k and more in k]
        return found[0] if len(found) == 1 else found
    return of


def metrics_are_what_was_sent(world):
    world.start_engines(2, '--speed', '100')
    serve = world.start_serve('--workers', '2')
    total = some_traffic(serve)
    until('all counted', lambda: serve.figure('llm_d_epp_request_total') == 13)
    until('connections are counted', lambda: serve.figure('llmd_proxy_connections') == 0 and 13 == serve.figure(
        'llmd_proxy_upstream_connects_total', 'ok') + serve.figure('llmd_proxy_upstream_reused_total'))
    page = serve.figures()
    of = sums_of(page)
    same('requests', (of('request_total'), of('request_running')), (12, 0))
    same('errors', [v for k, v in page['llm_d_epp_request_error_total'].items()
                    if 'model_name="nobody"' in k and 'error_code="NotFound"' in k], [1])
    for name, wanted in (('request_size_bytes', total['sent']), ('response_size_bytes', total['received']),
                         ('request_input_tokens', total['prompt']), ('request_output_tokens', total['output']),
                         ('request_cached_tokens', total['cached'])):
        same(name, (of(name + '_count'), of(name + '_sum')), (12, wanted))
    for name in ('request_duration_seconds', 'request_ntpot_seconds'):
        same(name, of(name + '_count'), 12)
        need(name, 0 < of(name + '_sum') < 60)
    same('streams', of('request_ttft_seconds_count', 'streaming="true"'), 6)
    same('others', of('request_ttft_seconds_count', 'streaming="false"'), 6)
    same('time per token of streams', of('request_streaming_tpot_seconds_count'), 6)
    same('decisions', page['llm_d_epp_scheduler_e2e_duration_seconds_count'][''], 13)
    answers = {k: v for k, v in page['llmd_proxy_responses_total'].items() if v}
    same('answers', answers, {'code="2xx"': 12, 'code="4xx"': 1})


def prometheus_reads_them(world):
    world.start_engines(2, '--speed', '100')
    serve = world.start_serve('--workers', '2')
    some_traffic(serve)
    until('all counted', lambda: serve.figure('llm_d_epp_request_total') == 13)
    page = serve.page('/metrics')
    run = subprocess.run([PYTHON, os.path.join(HERE, 'read_metrics.py')], input=page.encode(), capture_output=True,
                         timeout=PATIENCE, check=False)
    need('it reads the page', run.returncode == 0, run.stderr.decode())
    families = json.loads(run.stdout)
    names = [family['name'] for family in families]
    same('each family once', sorted(names), sorted(set(names)))
    untold = [f['name'] for f in families if f['type'] in ('unknown', 'untyped') or not f['help']]
    same('each has a type and says what it is', untold, [])
    read = {}
    for family in families:
        for name, labels, value in family['samples']:
            read.setdefault(name, {})[tuple(sorted(labels.items()))] = value
    plain = figures(page)
    same('as many samples as lines', {k: len(v) for k, v in read.items()}, {k: len(v) for k, v in plain.items()})
    same('requests', sum(read['llm_d_epp_request_total'].values()), 13)
    for family in families:
        if family['type'] == 'histogram':
            buckets_are_sound(family)


def buckets_are_sound(family):
    """Of each series: counts that never fall, and the last is what _count says."""
    series, counts = {}, {}
    for name, labels, value in family['samples']:
        key = tuple(sorted((k, v) for k, v in labels.items() if k != 'le'))
        if name.endswith('_bucket'):
            series.setdefault(key, []).append((float(labels['le']), value))
        elif name.endswith('_count'):
            counts[key] = value
    need(f'{family["name"]} has series', series)
    for key, buckets in series.items():
        same(f'{family["name"]}: bounds', buckets, sorted(buckets))
        values = [v for _, v in buckets]
        same(f'{family["name"]}: counts', (values, buckets[-1]), (sorted(values), (float('inf'), counts[key])))


# ---- the end ---------------------------------------------------------------------------------------------------------

def drains(world):
    """SIGTERM: streams under way end whole, nobody new comes in, code 0, nothing is left behind."""
    world.start_engines(2, '--speed', '2')
    serve = world.start_serve('--workers', '2')
    need('the region', os.path.exists(serve.region))
    with Raw(serve.port) as idle, Raw(serve.port) as c, Raw(serve.port) as other:
        same('kept open', idle.post(chat()).answer().status, 200)
        c.post(chat(stream=True, max_tokens=300, ignore_eos=True))
        other.post(chat(max_tokens=100, ignore_eos=True))
        until_running(world.engines, 2)
        serve.tell(signal.SIGTERM)

        def refused():
            try:
                Raw(serve.port).socket.close()
                return False
            except ConnectionRefusedError:
                return True
        until('new connections are refused', refused)
        need('the idle connection is closed', idle.closed())
        got = c.answer()
        same('the stream', (got.status, got.whole, len(got.events())), (200, True, 301))
        got = other.answer()
        same('the answer', (got.status, got.whole, got.json()['usage']['completion_tokens']), (200, True, 100))
        need('connections are closed', c.closed() and other.closed())
    same('exit code', serve.wait(), 0)
    same('its log', sorted(line['status'] for line in serve.lines()), [200, 200, 200])


# ---- attempts --------------------------------------------------------------------------------------------------------

def attempt(llmd, test, skip=None):
    name = test.__name__.replace('_', ' ')
    if os.environ.get('SERVE_ONLY', '') not in test.__name__:
        return
    if skip:
        tap.point(name, skip=skip)
        return
    world = World(llmd)
    try:
        test(world)
        world.end_well()
        tap.point(name)
    except (Wrong, OSError, ValueError, EOFError, LookupError, http.client.HTTPException,
            subprocess.SubprocessError) as error:
        tap.point(name, [type(error).__name__] + str(error).splitlines() + world.told())
    finally:
        world.close()


def main(llmd):
    llmd = tap.program(os.path.abspath(llmd))
    attempt(llmd, openai_client, missing('openai'))
    attempt(llmd, usage_is_asked_for_behind_the_client)
    for test in (curl_bodies, curl_versions, curl_passes):
        attempt(llmd, test, None if shutil.which('curl') else 'needs curl')
    attempt(llmd, prefixes_stay_where_they_are)
    attempt(llmd, metrics_are_what_was_sent)
    attempt(llmd, prometheus_reads_them, missing('prometheus_client'))
    attempt(llmd, drains)
    tap.done()


main(sys.argv[1])
