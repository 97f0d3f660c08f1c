#!/usr/bin/env python3
"""`llmd serve` against clients that mean it ill: hostile.py LLMD. Prints TAP.

Engines are plain sockets that keep every byte (upstream.py), so that what a request must not become is seen where it
would arrive. After all of it the same processes must live and answer.
"""
import collections
import json
import os
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
import choosing  # noqa: E402
import malformed  # noqa: E402
import tap  # noqa: E402
from siege import GOOD, Setting, Skip, run, split, throw  # noqa: E402
from world import Raw, Wrong, ask, chat, need, same, until  # noqa: E402

# ---- malformed requests -----------------------------------------------------------------------------------------------

def check_refusal(name, got, status, before):
    same(f'{name}: answers', [a[0] for a in got], [200] * before + [status])
    _, headers, body = got[-1]
    same(f'{name}: hangs up', headers.get(b'connection'), b'close')
    same(f'{name}: an error as OpenAI has it', sorted(json.loads(body)['error']), ['code', 'message', 'param', 'type'])


def malformed_requests(world):
    """Each alone, and each behind a good request on the same connection."""
    s = Setting(world)
    s.well()
    wrong, before, clients, good = [], s.refused(), {}, 1
    for name, status, data in malformed.WAYS:
        for first in (b'', GOOD):
            client, came = throw(s.port, first + data)
            good += bool(first)
            clients[client] = (name, status)
            try:
                check_refusal(name, split(came), status, bool(first))
            except (Wrong, ValueError) as error:
                wrong.append(f'{error} {came[-300:]!r}')
    same(f'{len(wrong)} of {len(malformed.WAYS)} ways', wrong, [])
    s.well()
    same('requests that reached the engine', len(s.seen()), good + 1)
    same('smuggled', [r.raw for r in s.seen() if b'muggled' in r.raw or r.raw.count(b'HTTP/1.1') != 1], [])
    expected = collections.Counter(str(status) for _, status, _ in malformed.WAYS for _ in range(2))
    same('counted', s.refused() - before, expected)
    log = dict(re.findall(r'127\.0\.0\.1:(\d+): (\d+) \w', s.serve.text()))
    same('logged', [c for c in clients.items() if log.get(str(c[0])) != str(c[1][1])], [])
    tap.note(f'{len(malformed.WAYS)} malformed requests, alone and behind a good one')


def odd_but_right(world):
    """What looks like an attack and is none passes as what it is: one request, its bytes where they belong."""
    s = Setting(world)
    inner = b'GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n'
    post = b'POST /v1/audio HTTP/1.1\r\nHost: x\r\n'
    chat_ = b'POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\n'
    lines = b'{"model":"a\\r\\nX-Smuggled: y\\r\\n\\r\\n","messages":[]}'
    pieces = b''.join(b'1\r\n%c\r\n' % b for b in inner)
    for name, data, body in (
            ('a request within a body', post + b'Content-Length: %d\r\n\r\n' % len(inner) + inner, inner),
            ('a request within a chunk',
             post + b'Transfer-Encoding: chunked\r\n\r\n%x\r\n' % len(inner) + inner + b'\r\n0\r\n\r\n',
             inner),
            ('a request in chunks of a byte', post + b'Transfer-Encoding: chunked\r\n\r\n' + pieces + b'0\r\n\r\n',
             inner),
            ('trailers',
             post + b'Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nX-Smuggled: y\r\nContent-Length: 9\r\n\r\n',
             b'{}'),
            ('zeros before a length', post + b'Content-Length: 0002\r\n\r\n{}', b'{}'),
            ('a length named by Connection', post + b'Connection: content-length\r\nContent-Length: 2\r\n\r\n{}',
             b'{}'),
            ('absolute target',
             b'POST http://x/v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}', b'{}'),
            ('escaped lines in the path',
             b'POST /a%0d%0aX-Smuggled:%20y%0d%0a HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}', b'{}'),
            ('lines in a model', chat_ + b'Content-Length: %d\r\n\r\n' % len(lines) + lines, lines)):
        n = len(s.seen())
        with Raw(s.port) as c:
            c.send(data + GOOD)
            got = [c.answer().status, c.answer().status]
        same(f'{name}: answers', got, [200, 200])
        requests = s.seen()[n:]
        same(f'{name}: requests', [r.body for r in requests], [body, b'{"messages":[]}'])
        need(f'{name}: nothing new in the head', not any(k.lower() == b'x-smuggled' for k, _ in requests[0].headers),
             requests[0].head)
        same(f'{name}: one length', requests[0].of(b'content-length'), [b'%d' % len(body)])
    with Raw(s.port) as c:
        c.send(post + b'Content-Length: 2\r\n\r\n{}xxxx\r\n\r\n')
        same('a body longer than said', [a[0] for a in split(c.rest()[0])], [200, 400])
    s.well()


def curl_ways(world):
    """What curl can be made to say."""
    if not shutil.which('curl'):
        raise Skip('needs curl')
    s = Setting(world)
    url, evil = f'http://127.0.0.1:{s.port}', f'http://127.0.0.1:{s.port}/smuggled'
    ways = (
        (400, ['-H', 'Transfer-Encoding: chunked', '-H', 'Content-Length: 3', '--data-binary', 'abc', evil]),
        (501, ['-H', 'Transfer-Encoding: xchunked', '-H', 'Content-Length:', '-d', 'abc', evil]),
        (501, ['-H', 'Transfer-Encoding: gzip, chunked', '-H', 'Content-Length:', '-d', 'abc', evil]),
        (400, ['-H', 'Content-Length: 3, 3', '-d', 'abc', evil]),
        (400, ['-H', 'Content-Length: -1', '-d', 'abc', evil]),
        (400, ['-H', 'Content-Length: 0x3', '-d', 'abc', evil]),
        (400, ['-H', 'Content-Length: 3\r\nContent-Length: 4', '-d', 'abc', evil]),
        (400, ['-H', 'Transfer-Encoding : chunked', '-d', 'abc', evil]), (400, ['-H', 'Host:', evil]),
        (400, ['-H', 'Host: a\r\nHost: b', evil]), (400, ['-H', 'Host: a b', evil]),
        (400, ['-H', 'A: b\r\n c: d', evil]),
        (400, ['-H', 'A: b\nX-Smuggled: y', evil]), (400, ['-H', 'A: b\rX-Smuggled: y', evil]),
        (400, ['-H', 'A : b', evil]),
        (400, ['-H', 'A: \x01', evil]),
        (501, ['-X', 'FETCH', evil]), (400, ['-X', 'GET\t', evil]),
        (400, ['--request-target', '/a b', url]), (400, ['--request-target', 'http://smuggled/', url]),
        (400, ['--request-target', '*', url]), (400, ['--request-target', 'smuggled', url]),
        (400, ['--request-target', '/a\r\nX-Smuggled: y', url]), (414, ['--request-target', '/' + 'a' * 40000, url]),
        (417, ['-H', 'Expect: something', '-d', 'abc', evil]), (505, ['--http2-prior-knowledge', evil]),
        (501, ['-H', 'Connection: Upgrade', '-H', 'Upgrade: websocket', evil]),
        (431, ['-H', 'A: ' + 'b' * 40000, evil]), (431, [x for i in range(200) for x in ('-H', f'A{i}: b')] + [evil]),
        (413, ['-H', 'Content-Length: 99999999999', '-d', 'abc', evil]))
    before = s.refused()
    for status, args in ways:
        p = subprocess.run(['curl', '-sS', '-o', '/dev/null', '-w', '%{http_code}', '--max-time', '30', *args],
                           check=False,
                           stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        got = p.stdout.decode()
        need(f'curl {[a[:60] for a in args]}: {status}', got == str(status) or '--http2-prior-knowledge' in args,
             (got, p.stderr))
    same('counted', s.refused() - before, collections.Counter(str(status) for status, _ in ways))
    same('what reached the engine', [r.head for r in s.seen()], [])
    s.well()


# ---- slow, half and too many -----------------------------------------------------------------------------------------

SHORT = ['--set', 'limits.head_time=400ms', '--set', 'limits.body_time=400ms', '--set', 'limits.idle=600ms', '--set',
         'limits.write=600ms', '--set', 'limits.connections=40', '--set', 'limits.pending=64KiB', '--set',
         'limits.body=1MiB']


def drip(port, first, byte, pause=0.05):
    """Sends the first bytes, then one after the other until nobody takes them: what came."""
    with Raw(port) as c:
        c.send(first)
        c.socket.settimeout(pause)
        end = time.monotonic() + 30
        while time.monotonic() < end:
            try:
                if not c.more():
                    return c.kept
            except socket.timeout:
                try:
                    c.send(byte)
                except ConnectionError:
                    pass
            except ConnectionError:
                return c.kept
        raise Wrong('dripped for half a minute')


def slow_clients(world):
    s = Setting(world, *SHORT)
    post = b'POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\n'
    before = s.refused()
    for name, first, byte in (
            ('request line', b'G', b'E'), ('header', b'GET / HTTP/1.1\r\nX: ', b'y'),
            ('headers', b'GET / HTTP/1.1\r\n', b'X: y\r\n'),
            ('nothing more', b'GET / HT', b''), ('body', post + b'Content-Length: 99999\r\n\r\n', b'x'),
            ('body that never begins', post + b'Content-Length: 9\r\n\r\n', b''),
            ('chunks', post + b'Transfer-Encoding: chunked\r\n\r\n', b'1\r\nx\r\n'),
            ('chunk size', post + b'Transfer-Encoding: chunked\r\n\r\n', b'0'),
            ('trailers', post + b'Transfer-Encoding: chunked\r\n\r\n0\r\n', b'X: y\r\n'),
            ('100-continue, then nothing', post + b'Expect: 100-continue\r\nContent-Length: 9\r\n\r\n', b'')):
        came = drip(s.port, first, byte).replace(b'HTTP/1.1 100 Continue\r\n\r\n', b'', 1)
        need(f'{name} by drops: refused', [a[0] for a in split(came)] in ([408], [400]), came)
    same('counted', sum((s.refused() - before).values()), 10)
    same('nothing sent, nothing said', drip(s.port, b'', b''), b'')
    s.well()
    need('nothing of it reached the engine', len(s.seen()) == 1, [r.head for r in s.seen()])


def left_in_the_middle(world):
    """Clients that stop sending, or leave, at every byte of a request."""
    s = Setting(world, *SHORT)
    whole = (b'POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n'
             b'5\r\n{"mes\r\na\r\nsages":[]}\r\n0\r\n\r\n')
    for n in range(len(whole)):
        for how in ('half', 'close', 'reset'):
            with Raw(s.port) as c:
                c.send(whole[:n])
                if how == 'half':
                    c.socket.shutdown(socket.SHUT_WR)
                    came = c.rest()[0]
                    need(f'half-closed after {n}', not came or split(came)[0][0] in (400, 408), came)
                elif how == 'reset':
                    c.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
    s.well()
    same('whole requests that the engine saw', [r.body for r in s.seen()], [b'{"messages":[]}'])
    for how in (socket.SHUT_WR, socket.SHUT_RDWR):
        with Raw(s.port) as c:
            c.send(GOOD)
            c.socket.shutdown(how)
            need('one answer at most', [a[0] for a in split(c.rest()[0])] in ([], [200]))
    same('short of what they said', throw_and_leave(s.port, GOOD[:-5]), b'')
    until('all is given back', lambda: s.serve.in_flight() == 0)
    s.well()


def throw_and_leave(port, data):
    with Raw(port) as c:
        c.send(data)
        c.socket.shutdown(socket.SHUT_WR)
        came = c.rest()[0]
        return b'' if not came or split(came)[0][0] in (400, 408) else came


def too_many(world):
    """Connections beyond the limit are told so, and those within it go on."""
    s = Setting(world, *SHORT, '--set', 'limits.idle=30s')
    before, kept = s.refused(), []
    try:
        for _ in range(40):
            kept.append(Raw(s.port))
        until('all are in', lambda: s.serve.figure('llmd_proxy_connections') == 40)
        for _ in range(200):
            _, came = throw(s.port, b'')
            same('one too many', [a[0] for a in split(came)], [503])
        same('one within', kept[0].send(GOOD).answer().status, 200)
        for c in kept[20:]:
            c.socket.close()
        until('those who left have left', lambda: s.serve.figure('llmd_proxy_connections') == 20)
        s.well()
    finally:
        for c in kept:
            c.socket.close()
    need('counted', (s.refused() - before)['503'] >= 200, s.refused())
    memory = s.memory()
    for _ in range(3000):
        socket.create_connection(('127.0.0.1', s.port)).close()
    until('they have gone', lambda: s.serve.figure('llmd_proxy_connections') == 0)
    s.well()
    s.stays('in the end', memory)


def a_flood_of_requests(world):
    """Thousands ahead on one connection, none of the answers read: the proxy stops reading, and holds no more."""
    s = Setting(world, *SHORT)
    memory = s.memory()
    with Raw(s.port) as c:
        c.socket.settimeout(5)
        flood, sent = GOOD * 200, 0
        try:
            for _ in range(1000):
                c.send(flood)
                sent += len(flood)
        except OSError:
            pass
        need('it did not take all of it', sent < 200000 * len(GOOD), sent)
    s.stays('in the end', memory)
    until('nothing in flight', lambda: s.serve.in_flight() == 0)
    s.well()


# ---- choosing --------------------------------------------------------------------------------------------------------

class Trap:
    """Where a client would like us to go. Nobody may come."""

    def __init__(self):
        self.listener, self.came = socket.create_server(('127.0.0.1', 0)), []
        self.address = '127.0.0.1:%d' % self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                client, peer = self.listener.accept()
            except OSError:
                return
            self.came.append(peer)
            client.close()

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


def clean(s, name, since, address):
    """Nothing of it is in what engines got since; how many requests they got."""
    requests = s.seen()[since:]
    places = {u.address.encode() for u in s.upstream}
    for r in requests:
        need(f'{name}: an engine saw', address.encode() not in r.raw, r.raw)
        for key, value in r.headers:
            plain = key.decode().lower().replace('_', '-')
            need(f'{name}: a header', plain not in choosing.OWNED or value in places, r.head)
        if r.body.lstrip(b'\xef\xbb\xbf \t\r\n')[:1] in (b'{', b'['):
            bad = [m for m in choosing.members(r.body) if m in choosing.KEYS]
            same(f'{name}: members', bad, [])
    return len(requests)


def choosing_ways(world):
    trap = Trap()
    s = Setting(world, engines=2)
    n = {'headers': 0, 'bodies': 0, 'targets': 0}
    passed = 0
    try:
        for name, lines in choosing.headers(trap.address):
            since = len(s.seen())
            with Raw(s.port) as c:
                same(f'{name}: status', c.post(chat(), more=lines).answer().status, 200)
            same(f'{name}: requests', clean(s, name, since, trap.address), 1)
            n['headers'] += 1
        with Raw(s.port) as c:
            for name, path, body in choosing.bodies(trap.address):
                since = len(s.seen())
                got = c.post(body, path=path).answer()
                need(f'{name}: an answer', got.whole and got.status in (200, 400, 415), (got.status, got.body))
                passed += clean(s, name, since, trap.address)
                n['bodies'] += 1
        for name, head in choosing.targets(trap.address):
            since = len(s.seen())
            need(f'{name}: an answer', len(split(throw(s.port, head.encode())[1])) == 1)
            clean(s, name, since, trap.address)
            n['targets'] += 1
        same('who came to the trap', trap.came, [])
        s.well()
    finally:
        trap.close()
    need('most bodies pass, without it', passed > n['bodies'] * 0.8, (passed, n))
    tap.note(f'{n}, of these bodies {passed} were passed on without it')


# ---- the agent -------------------------------------------------------------------------------------------------------

def admin_port(world):
    """The malformed requests again, floods and slow clients, at the agent."""
    s = Setting(world)
    port, memory = s.serve.admin(), s.memory('agent')
    wrong = []
    for name, status, data in malformed.WAYS:
        _, came = throw(port, data)
        try:
            same(name, [a[0] for a in split(came)], [status])
        except Wrong as error:
            wrong.append(f'{error} {came[-200:]!r}')
    same('malformed requests', wrong, [])
    for method, path, status in (('POST', '/metrics', 405), ('DELETE', '/healthz', 405),
                                 ('GET', '/metrics/../etc/passwd', 404),
                                 ('GET', '/' + 'a' * 9000, 404), ('GET', '/explain?x=' + '%00' * 900, 200),
                                 ('PUT', '/explain', 405), ('POST', '/records', 405)):
        same(f'{method} {path[:30]}', ask(port, method, path)[0], status)
    kept = []
    try:
        for i in range(400):
            kept.append(Raw(port))
            try:
                kept[-1].send((b'', b'GET /met', b'\x00', b'GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n' * 50)[i % 4])
            except ConnectionError:
                pass
        s.well()
        need('one more is told so', split(throw(port, b'')[1])[0][0] == 503)
    finally:
        for c in kept:
            c.socket.close()
    until('pages again', lambda: ask(port, 'GET', '/healthz')[0] == 200)
    need('counted', s.serve.figure('llmd_agent_admin_refused_total') >= len(malformed.WAYS))
    s.stays('in the end', memory, 16384, 'agent')
    s.serve.wait_fresh(1)
    s.well()


TOKENS = '''
apiVersion: llm-d.ai/v1alpha1
kind: EndpointPickerConfig
plugins:
- {type: token-producer, parameters: {modelName: llmd-filler, vllm: {}}}
- {type: precise-prefix-cache-producer}
- {type: queue-scorer}
- {type: max-score-picker}
schedulingProfiles:
- name: default
  plugins: [{pluginRef: queue-scorer, weight: 1}, {pluginRef: max-score-picker}]
'''


def token_socket(world):
    """The unix socket where deciders ask: whatever comes there, the agent lives."""
    path = world.path('tokens.sock')
    s = Setting(world, '--set', 'policy=' + world.write('tokens.yaml', TOKENS), '--set', 'tokens.socket=' + path)
    until('it is there', lambda: os.path.exists(path))
    same('its mode', oct(os.stat(path).st_mode & 0o777), '0o600')
    memory, kept = s.memory('agent'), []
    numbers = [struct.pack(order + 'I', n) for order in '<>' for n in (0, 1, 0x7fffffff, 0xffffffff, 0x01000000)]
    for data in (b'', b'x', b'GET / HTTP/1.1\r\nHost: x\r\n\r\n', bytes(range(256)) * 16, b'\xff' * 100000,
                 b'\x00' * 100000,
                 *(n + more for n in numbers for more in (b'', b'x' * 10, b'\xff' * 70000)),
                 *(n * 64 for n in numbers)):
        for end in (True, False):
            c = socket.socket(socket.AF_UNIX)
            kept.append(c)
            c.connect(path)
            c.settimeout(0.2)
            try:
                c.sendall(data)
                if end:
                    c.shutdown(socket.SHUT_WR)
            except OSError:
                pass
    for i in range(600):
        c = socket.socket(socket.AF_UNIX)
        kept.append(c)
        c.settimeout(0.1)
        try:
            c.connect(path)
            c.sendall(b'\x01')
        except OSError:
            break
    s.well()
    same('the agent answers', ask(s.serve.admin(), 'GET', '/healthz')[0], 200)
    s.stays('in the end', memory, 65536, 'agent')
    for c in kept:
        c.close()
    s.serve.wait_fresh(1)
    s.well()


run(sys.argv[1], (malformed_requests, odd_but_right, curl_ways, slow_clients, left_in_the_middle, too_many,
                  a_flood_of_requests, choosing_ways, admin_port, token_socket), os.environ.get('HOSTILE_ONLY', ''))
