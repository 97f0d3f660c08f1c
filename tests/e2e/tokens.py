#!/usr/bin/env python3
"""Prompts of text by the exact index: `llmd serve`, its agent, engines that render and tell of their caches.

    tokens.py LLMD

Prints TAP. How long a render takes is printed as a note, never judged.
"""
import http.client
import json
import os
import random
import signal
import socket
import statistics
import struct
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.dont_write_bytecode = True
sys.path.insert(0, HERE)
sys.path.insert(0, os.path.join(HERE, '..', 'lint'))
import tap  # noqa: E402
from world import MODEL, PATIENCE, World, Wrong, ask, chat, need, same, until  # noqa: E402

POLICY = '''
apiVersion: llm-d.ai/v1alpha1
kind: EndpointPickerConfig
plugins:
- type: token-producer
  parameters: {modelName: %s, vllm: {url: "http://localhost:8000"}}
- type: precise-prefix-cache-producer
- type: prefix-cache-scorer
  parameters: {prefixMatchInfoProducerName: precise-prefix-cache-producer}
- type: max-score-picker
''' % MODEL
RENDER, TOKENIZE = '/v1/chat/completions/render', '/tokenize'
RESULT = 'llmd_proxy_token_requests_total'


def prompt(seed, words=500):
    dice = random.Random(f'{seed}')
    return ' '.join(dice.choice(('cache', 'block', 'token', 'prefix', 'engine', 'page')) + str(i) for i in range(words))


def begin(world, *settings, engines=3):
    world.start_engines(engines, '--speed', '100', '--kv-events')
    world.write('policy.yaml', POLICY)
    places = ', '.join(e.address for e in world.engines)
    path = world.write('service.yaml', f'policy: policy.yaml\nendpoints: [{places}]\nlog: {{explain: 1000}}\n'
                       'tokens: {wait: 20s}\ncaps: {token_bytes: 4MiB}\nevents: {discover: 100ms, retry: 200ms}\n')
    serve = world.start_serve(*settings, file=path)
    until('the agent listens for questions', lambda: os.path.exists(serve.region + '.sock'))
    until('the worker may ask', lambda: serve.figure('llmd_agent_token_deciders') >= 1)
    return serve


class Asked:
    """One request: where it went, and why."""
    number = 0

    def __init__(self, serve, text, **more):
        Asked.number += 1
        name = f'tokens-{Asked.number}'
        status, headers, body = ask(serve.port, 'POST', '/v1/chat/completions', chat(text, **more),
                                    {'x-request-id': name})
        same(f'status of {name}: {body[:300]!r}', status, 200)
        self.line = serve.line(name)
        self.endpoint, self.ladder = self.line['endpoint'], self.line.get('ladder', [])
        self.engine = headers['x-engine']
        why = until('its explanation', lambda: [d for d in json.loads(serve.page('/explain'))['decisions']
                                                if d['request_id'] == name])[0]
        self.tokens_from = why['explain']['decision']['tokens_from']


def index_is_fed(serve, n):
    until('engines have told what they hold', lambda: serve.figure('llmd_index_held_blocks') >= n)


def exactly_where_it_lies(world):
    serve = begin(world)
    first = {}
    for i in range(6):
        held = serve.figure('llmd_index_held_blocks')
        first[i] = Asked(serve, prompt(i))
        same(f'{i}: tokens', first[i].tokens_from, 'ids')
        index_is_fed(serve, held + 40)
    for i, was in first.items():
        for text in (prompt(i), prompt(i) + ' and then some more of it'):
            now = Asked(serve, text)
            same(f'{i}: where', now.endpoint, was.endpoint)
            same(f'{i}: steps of the ladder', now.ladder, [])
            same(f'{i}: tokens', now.tokens_from, 'ids')
            need(f'{i}: the engine had it', now.line['cached_tokens'] > 600, now.line)
    same('asked and answered', serve.figure(RESULT, 'result="ok"'), 12)  # six prompts and six longer ones
    same('rendered', serve.figure('llmd_agent_token_rendered_total'), 12)
    same('nobody could', serve.figure('llmd_agent_token_failed_total'), 0)


def renderers_that_are_gone(world):
    serve = begin(world, '--set', 'tokens.wait=300ms', engines=2)
    one = Asked(serve, prompt('one'))
    same('tokens', one.tokens_from, 'ids')
    index_is_fed(serve, 40)
    for engine in world.engines:
        for path in (RENDER, TOKENIZE):
            engine.fault('hang', path=path)
    known = Asked(serve, prompt('one'))
    same('of one that is known', (known.tokens_from, known.ladder), ('ids', []))
    times = []
    for i in range(12):
        new = Asked(serve, prompt(f'new {i}'))
        times.append(new.line['duration_ms'])
        same('tokens without a renderer', (new.tokens_from, new.ladder), ('estimate', ['no-index']))
    tap.note('renderers that hang: requests took, in ms: ' + ' '.join(f'{t:.0f}' for t in times))
    need('nobody waits for long', max(times) < 10000, times)
    need('some are told at once', serve.figure(RESULT, 'result="none"') > 0)
    for engine in world.engines:
        engine.fault('none')

    def well():
        return Asked(serve, prompt(random.random())).tokens_from == 'ids'
    until('tokens again', well)


def tokenize_where_render_is_forbidden(world):
    serve = begin(world, engines=1)
    world.engines[0].fault('403', path=RENDER)
    world.engines[0].fault('403', path='/v1/completions/render')
    for i in range(3):
        new = Asked(serve, prompt(i))
        same(f'{i}: tokens', (new.tokens_from, new.ladder if i else []), ('ids', []))
        index_is_fed(serve, 40)
    same('rendered', serve.figure('llmd_agent_token_rendered_total'), 3)


def killed_agents(world):
    serve = begin(world, engines=2)
    one = Asked(serve, prompt('one'))
    same('tokens', one.tokens_from, 'ids')
    for i in range(3):
        os.kill(serve.pid('agent'), signal.SIGKILL)
        for k in range(3):
            Asked.number += 1
            same('without an agent', ask(serve.port, 'POST', '/v1/chat/completions', chat(prompt(f'{i} {k}')))[0], 200)

        def well():
            text = prompt(random.random())
            return Asked(serve, text).tokens_from == 'ids'
        until('tokens by the next agent', well)


class Socket:
    """The protocol as its page tells it."""

    def __init__(self, serve):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(PATIENCE)
        self.socket.connect(serve.region + '.sock')
        self.lines = self.socket.makefile('rb')

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.lines.close()
        self.socket.close()

    def ask(self, number, body, path=b'/v1/chat/completions'):
        text = struct.pack('<II', len(path), 0) + path + body
        self.socket.sendall(b'LTK1' + struct.pack('<IQII', 1, number, len(text), 0) + text)
        head = self.lines.read(24)
        kind, told, length, zero = struct.unpack('<IQII', head[4:])
        same('head', (head[:4], kind, told, zero), (b'LTK1', 2, number, 0))
        answer = self.lines.read(length)
        status, n, features, zero = struct.unpack('<IIII', answer[:16])
        same('answer', (features, zero, length), (0, 0, 16 + 4 * n))
        return status, answer[16:]


def another_language(world):
    serve = begin(world, engines=1)
    with Socket(serve) as s:
        status, ids = s.ask(77, json.dumps(chat(prompt('socket'))).encode())
        same('status', status, 0)
        same('ids', list(struct.unpack(f'<{len(ids) // 4}I', ids)),
             world.engines[0].json('/tokenize', chat(prompt('socket')))['tokens'])
        same('no prompt', s.ask(78, b'{}'), (1, b''))
        same('no such page', s.ask(79, b'{}', b'/v1/embeddings'), (1, b''))


def what_a_render_takes(world):
    """Notes only. What asking the agent costs beside asking the engine itself, new prompts each time."""
    serve = begin(world, engines=1)

    def median(call):
        times = []
        for i in range(15):
            began = time.perf_counter()
            call(i)
            times.append((time.perf_counter() - began) * 1e3)
        return statistics.median(times)
    for words in (100, 1700, 25000):
        bodies = [json.dumps(chat(prompt(f'{words} {i}', words))).encode() for i in range(15)]
        with Socket(serve) as s:
            agent = median(lambda i: same('status', s.ask(i, bodies[i])[0], 0))
        c = http.client.HTTPConnection('127.0.0.1', world.engines[0].port)

        def direct(i):
            c.request('POST', RENDER, bodies[i])
            c.getresponse().read()
        alone = median(direct)
        tap.note(f'{len(bodies[0]) / 1e3:.0f} KB: {agent:.2f} ms by the agent, {alone:.2f} ms the engine alone')
        c.close()


def attempt(llmd, test):
    if os.environ.get('TOKENS_ONLY', '') not in test.__name__:
        return
    world = World(llmd)
    name = test.__name__.replace('_', ' ')
    try:
        test(world)
        world.look_for_crashes()
        tap.point(name)
    except (Wrong, OSError, ValueError, LookupError, http.client.HTTPException, subprocess.SubprocessError) as error:
        tap.point(name, [type(error).__name__] + str(error).splitlines() + world.told())
    finally:
        world.close()


def main(llmd):
    llmd = tap.program(os.path.abspath(llmd))
    for test in (exactly_where_it_lies, renderers_that_are_gone, tokenize_where_render_is_forbidden, killed_agents,
                 another_language, what_a_render_takes):
        attempt(llmd, test)
    tap.done()


main(sys.argv[1])
