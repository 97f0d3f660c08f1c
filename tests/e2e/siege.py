"""What the tests of hostile clients and engines share: `llmd serve` between plain sockets, and what may not change."""
import collections
import http.client
import os
import re

import tap
from upstream import ANSWER, Upstream
from world import Raw, World, Wrong, is_alive, need, same

GOOD = (b'POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 15\r\n\r\n{"messages":[]}')
ONLY = ['--set', 'upstream.retries=0', '--set', 'health.failures=0']  # each answer is that of the one engine asked


class Setting:
    """A serve with plain engines behind it, and what must not change."""

    def __init__(self, world, *args, engines=1, answer=None):
        with open(world.llmd[-1], 'rb') as f:
            self.slack = 400 << 10 if b'__asan_' in f.read() else 0
        self.world = world
        self.upstream = [Upstream(answer) for _ in range(engines)]
        world.engines += self.upstream
        self.serve = world.start_serve(*ONLY, *args)
        self.port = self.serve.port
        self.pids = {name: self.serve.pid(name) for name in ('agent', 'worker 0')}

    def seen(self):
        return [request for u in self.upstream for request in u.seen]

    def well(self):
        """The next good request works, and nobody had to be started again."""
        with Raw(self.port) as c:
            got = c.send(GOOD).answer()
        same('a good request', (got.status, got.body, got.whole), (200, ANSWER, True))
        self.lives()

    def lives(self):
        same('who runs', {n: self.serve.pid(n) for n in self.pids}, self.pids)
        same('who lives', [n for n, pid in self.pids.items() if not is_alive(pid)], [])
        same('what engines found wrong', [c for u in self.upstream for c in u.complaints], [])

    def refused(self):
        """Refusals by status, as /metrics has them."""
        found = self.serve.figures()['llmd_proxy_refused_total']
        return collections.Counter({re.search(r'status="(\w+)"', k).group(1): int(v) for k, v in found.items() if v})

    def memory(self, name='worker 0'):
        with open(f'/proc/{self.pids[name]}/status', encoding='utf-8') as f:
            return next(int(line.split()[1]) for line in f if line.startswith('RssAnon:'))

    def stays(self, what, before, room=8192, name='worker 0'):
        """Memory has not grown by more than so many KiB; by more under ASan, which keeps what was freed."""
        now = self.memory(name)
        need(f'{what}: memory stays', now < before + room + self.slack, (before, now))
        return now


def split(data):
    """All answers in what a client has read: [(status, headers, body)]. Wrong when it is anything else."""
    out = []
    while data:
        head, mark, data = data.partition(b'\r\n\r\n')
        found = re.match(rb'HTTP/1\.1 (\d{3}) [^\r\n]*(?:\r\n|$)', head)
        if not found or not mark:
            raise Wrong(f'no answer: {head[:200]!r}')
        headers = {k.lower(): v for k, v in (line.split(b': ', 1) for line in head.split(b'\r\n')[1:])}
        n = int(headers.get(b'content-length', b'0'))
        need('a length that is true', len(data) >= n, f'{n} of {len(data)}')
        out.append((int(found.group(1)), headers, data[:n]))
        data = data[n:]
    return out


def throw(port, data):
    """Sends it all, whatever the other side thinks of it, and reads to the end: the client's port, what came."""
    with Raw(port) as c:
        try:
            c.send(data)
        except ConnectionError:
            pass
        return c.socket.getsockname()[1], c.rest()[0]


class Skip(Exception):
    pass


def attempt(llmd, test):
    world = World(llmd)
    name = test.__name__.replace('_', ' ')
    try:
        test(world)
        tap.point(name)
    except Skip as reason:
        tap.point(name, skip=str(reason))
    except (Wrong, AssertionError, OSError, ValueError, EOFError, KeyError, http.client.HTTPException) as error:
        tap.point(name, (str(error)[:6000] or repr(error)).splitlines() + world.told())
    finally:
        world.close()


def run(llmd, tests, only):
    for test in tests:
        if only in test.__name__:
            attempt(tap.program(os.path.abspath(llmd)), test)
    tap.done()
