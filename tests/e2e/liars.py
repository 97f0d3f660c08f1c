#!/usr/bin/env python3
"""`llmd serve` against engines that mean it ill: liars.py LLMD. Prints TAP.

A client never sees a second answer where it asked once, a cut answer is seen to be cut, and memory stays bounded.
"""
import os
import socket
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.dont_write_bytecode = True
sys.path.insert(0, HERE)
sys.path.insert(0, os.path.join(HERE, '..', 'lint'))
import tap  # noqa: E402
from answers import BROKEN, CUT, PASSED  # noqa: E402
from siege import GOOD, Setting, run  # noqa: E402
from upstream import ANSWER, WELL, Upstream, message  # noqa: E402
from world import Raw, chat, need, same, until  # noqa: E402


def hostile_answers(world):
    """What an engine sends that is no answer to one request: a 502, or a cut; never a second answer."""
    script = [WELL]

    def answer(client, _):
        for piece in script[0] if isinstance(script[0], (list, tuple)) else [script[0]]:
            client.sendall(piece)
        return False
    s = Setting(world, '--set', 'upstream.first_byte=1s', '--set', 'upstream.idle=1s', answer=answer)
    memory = s.memory()
    for name, data in BROKEN:
        script[0] = data
        with Raw(s.port) as c:
            got = c.send(GOOD).answer()
            same(f'{name}: status', (got.status, got.whole), (502, True))
            need(f'{name}: not a word of it', b'muggled' not in got.body and 'x-smuggled' not in got.headers,
                 got.headers)
            script[0] = WELL
            got = c.send(GOOD).answer()
            same(f'{name}: and then', (got.status, got.body), (200, ANSWER))
    for name, data, body in CUT:
        script[0] = data
        with Raw(s.port) as c:
            got = c.send(GOOD).answer()
            need(f'{name}: a cut', not got.whole and got.reset, (got.status, got.body[-200:]))
            need(f'{name}: what came before', body is None or c.kept + got.body in body or body.startswith(got.body),
                 got.body)
            need(f'{name}: not smuggled', b'muggled' not in got.body + c.kept, (got.body, c.kept))
        script[0] = WELL
        s.well()
    for name, data, status, body in PASSED:
        script[0] = data
        with Raw(s.port) as c:
            got = c.send(GOOD).answer()
            same(f'{name}: an answer', (got.status, got.whole, got.body), (status, True, body))
            need(f'{name}: headers', not [k for k in got.headers if 'smuggled' in k], got.headers)
            script[0] = WELL
            got = c.send(GOOD).answer()
            same(f'{name}: and then', (got.status, got.body), (200, ANSWER))
    s.stays('in the end', memory, 16384)
    absurd = {k: row for k, row in s.serve.figures().items() if any(v < 0 or v > 1e17 for v in row.values())}
    same('figures that cannot be', absurd, {})
    s.well()
    until('nothing in flight', lambda: s.serve.in_flight() == 0)
    tap.note(f'{len(BROKEN)} answers refused, {len(CUT)} cut, {len(PASSED)} passed as they are')


def answers_that_were_not_asked_for(world):
    """Bytes on a kept connection: it goes, and nobody gets them."""
    clients = []

    def answer(client, _):
        clients.append(client)
        client.sendall(WELL)
        return True
    s = Setting(world, answer=answer)
    for late in (message(b'smuggled'), b'x', b'\r\n', b'HTTP/1.1 200 OK\r\n'):
        with Raw(s.port) as c:
            same('first', c.send(GOOD).answer().body, ANSWER)
            clients[-1].sendall(late)
            until('it hangs up', lambda: closed(clients[-1]))
            same('second', c.send(GOOD).answer().body, ANSWER)
    s.well()


def closed(client):
    return client.fileno() < 0 or client.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b''


def without_end(world):
    """Heads, interim answers, lines and events that go on and on: an end to them, and no memory for them."""
    chunk = b'x' * 65536
    kind = ['']

    def answer(client, request):
        if b'plain' in request.body:
            return Upstream.well(client, request)
        if kind[0] == 'head':
            client.sendall(b'HTTP/1.1 200 OK\r\nX-A: ')
        elif kind[0] == 'headers':
            client.sendall(b'HTTP/1.1 200 OK\r\n')
        elif kind[0] == 'reason':
            client.sendall(b'HTTP/1.1 200 ')
        elif kind[0] == 'trailers':
            client.sendall(b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n')
        elif kind[0] == 'chunk size':
            client.sendall(b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n')
        more = {'headers': b'a: b\r\n' * 1000, 'interim': b'HTTP/1.1 102 Processing\r\n\r\n' * 500,
                'trailers': b'a: b\r\n' * 1000,
                'chunk size': b'0' * 1000, 'blank lines': b'\r\n' * 1000}.get(kind[0], chunk)
        for _ in range(3200):  # 200 MiB at most
            client.sendall(more)
        return False
    s = Setting(world, '--set', 'upstream.idle=5s', answer=answer)
    memory = s.memory()
    for kind[0] in ('head', 'headers', 'reason', 'interim', 'blank lines'):
        with Raw(s.port) as c:
            same(f'{kind[0]} without end', c.send(GOOD).answer().status, 502)
    for kind[0] in ('trailers', 'chunk size'):
        with Raw(s.port) as c:
            got = c.send(GOOD).answer()
            need(f'{kind[0]} without end', got.status in (0, 200) and not got.whole and got.reset, vars(got))
    s.stays('in the end', memory)
    s.upstream[0].answer = Upstream.well
    s.well()


def giant_bodies(world):
    """200 MB of one event, of a line, of JSON: passed on at the client's pace, and not kept."""
    size, chunk = 200_000_000 // 65536, b'a' * 65536
    kind = ['']

    def answer(client, _):
        client.sendall(b'HTTP/1.1 200 OK\r\nContent-Type: %s\r\n\r\n' % kind[0])
        client.sendall(b'data: "' if b'event' in kind[0] else b'{"usage":"')
        for _ in range(size):
            client.sendall(chunk)
        return False
    s = Setting(world, answer=answer)
    memory = s.memory()
    for kind[0], stream in ((b'text/event-stream', True), (b'application/json', False), (b'application/x', False)):
        with Raw(s.port) as c:
            c.post(chat(stream=stream))
            time.sleep(0.5)  # nobody reads: what has been sent lies in the sockets, and little of it in the proxy
            s.stays(f'{kind[0]}, nobody reads', memory)
            n, last = 0, b''
            view = memoryview(bytearray(1 << 20))
            while last != b'0\r\n\r\n':
                got = c.socket.recv_into(view)
                need(f'{kind[0]}: all of it', got, n)
                n += got
                last = (last + bytes(view[max(0, got - 5):got]))[-5:]
                if n // 8_000_000 != (n - got) // 8_000_000:
                    s.stays(f'{kind[0]}, on the way', memory)
            need(f'{kind[0]}: all of it', n > size * 65536, n)
    s.upstream[0].answer = Upstream.well
    s.well()


def answers_too_early(world):
    """An engine that answers, or leaves, before it has the request."""
    body = b'{"messages":[{"role":"user","content":"' + b'x' * 8_000_000 + b'"}]}'
    s = Setting(world, '--set', 'upstream.idle=2s')
    u, kind = s.upstream[0], ['']

    def early(client, request):
        if kind[0] == 'answers':
            client.sendall(message(b'{"early":1}', b'413 Too much'))
        elif kind[0] == 'answers well':
            client.sendall(message(b'{"early":1}'))
        elif kind[0] == 'half an answer':
            client.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nhalf')
        elif kind[0] == 'never reads':
            time.sleep(4)
        elif kind[0] == 'answers, then reads':
            client.sendall(message(b'{"early":1}', b'413 Too much'))
            left = int(request.of(b'content-length')[0])
            while left > 0:
                left -= len(client.recv(1 << 20)) or left
        client.shutdown(socket.SHUT_RDWR)
        raise ConnectionError
    real, u.body = u.body, early
    memory = s.memory()
    for kind[0], allowed in (('answers', (413, 502)), ('answers well', (200, 502)), ('answers, then reads', (413, 502)),
                             ('half an answer', (0, 200, 502)), ('leaves', (502,)), ('never reads', (502, 504))):
        u.body = early
        with Raw(s.port) as c:
            got = c.post(body).answer()
            need(f'{kind[0]}', got.status in allowed, vars(got))
            need(f'{kind[0]}: whole, or seen to be cut',
                 got.whole != got.reset and (got.whole or kind[0] == 'half an answer'),
                 vars(got))
        u.body = real
        s.well()
    until('nothing held', lambda: s.serve.figure('llmd_proxy_body_bytes') == 0)
    s.stays('in the end', memory, 32768)


run(sys.argv[1], (hostile_answers, answers_that_were_not_asked_for, without_end, giant_bodies, answers_too_early),
    os.environ.get('HOSTILE_ONLY', ''))
