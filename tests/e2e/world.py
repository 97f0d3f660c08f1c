"""What tests of the proxy need around them: engines, `llmd serve`, a plain HTTP client, counts.

A World is a folder with programs in it. Whatever it has started ends with it, also when a test fails. Ports are always
the kernel's choice (an engine that is started again keeps its own); everything waits for what it wants to see.
"""
import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time

PATIENCE = 60.0  # seconds until what should happen has not
MODEL = 'llmd-filler'


class Wrong(Exception):
    pass


def need(what, condition, more=''):
    if not condition:
        raise Wrong(f'{what} {more}')


def same(what, got, expected):
    if got != expected:
        raise Wrong(f'{what}: got {got!r}, expected {expected!r}')


def until(what, look, patience=PATIENCE):
    """Waits until look() is true; returns what it gave."""
    end = time.monotonic() + patience
    last = None
    while time.monotonic() < end:
        try:
            last = look()
            if last:
                return last
        except (OSError, http.client.HTTPException, ValueError) as error:
            last = error
        time.sleep(0.02)
    raise Wrong(f'not within {patience:g} s: {what}; last seen: {last!r}')


def state_of(pid):
    """As ps shows it: S sleeps, T is stopped, Z is dead; X: there is none."""
    try:
        with open(f'/proc/{pid}/stat', encoding='utf-8') as f:
            return f.read().rsplit(')', 1)[1].split()[0]
    except OSError:
        return 'X'


def is_alive(pid):
    return state_of(pid) not in 'ZX'


def until_running(engines, n):
    """Waits until so many requests are under way at the engines."""
    until(f'{n} requests at the engines', lambda: sum(e.running() for e in engines) == n)


def chat(text='The quick brown fox?', **more):
    return {'model': MODEL, 'messages': [{'role': 'user', 'content': text}], 'max_tokens': 8, **more}


# ---- programs --------------------------------------------------------------------------------------------------------

class Program:
    """A process whose output lies in files that can be read while it runs."""

    def __init__(self, folder, name, args):
        self.name, self.log, self.out = name, os.path.join(folder, name + '.err'), os.path.join(folder, name + '.out')
        with open(self.log, 'w', encoding='utf-8') as err, open(self.out, 'w', encoding='utf-8') as out:
            self.process = subprocess.Popen(args, stdin=subprocess.DEVNULL, stdout=out, stderr=err, cwd=folder)

    def text(self):
        with open(self.log, encoding='utf-8', errors='replace') as f:
            return f.read()

    def find(self, pattern):
        """All matches of what it says, waited for until there is one."""
        def look():
            found = re.findall(pattern, self.text(), re.M)
            if not found and self.process.poll() is not None:
                raise Wrong(f'{self.name} ended before it said {pattern}: {self.text()[-2000:]}')
            return found
        return until(f'{self.name} says {pattern}', look)

    def wait(self):
        try:
            return self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            raise Wrong(f'{self.name} does not end') from None

    def tell(self, number):
        self.process.send_signal(number)

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


def figures(page):
    """{name: {labels as they stand: value}} of a page of metrics."""
    out = {}
    for line in page.splitlines():
        found = re.match(r'([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)$', line)
        if found:
            out.setdefault(found.group(1), {})[found.group(2) or ''] = float(found.group(3))
    return out


def ask(port, method, path, body=None, headers=None):
    """A whole exchange on a connection of its own: status, headers, body."""
    c = http.client.HTTPConnection('127.0.0.1', port, timeout=PATIENCE)
    try:
        c.request(method, path, json.dumps(body) if isinstance(body, (dict, list)) else body, headers or {})
        answer = c.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        c.close()


class Engine:
    """A process with one engine. Killed and started again, it has its port again."""

    def __init__(self, world, number, options):
        self.world, self.number, self.options, self.starts, self.port = world, number, options, 0, 0
        self.program = None
        world.engines.append(self)
        self.start()

    def start(self):
        self.starts += 1
        self.program = Program(self.world.folder, f'engine-{self.number}-{self.starts}',
                               self.world.llmd + ['engine', '--port', str(self.port), *self.options])
        self.port = int(self.program.find(r'^engine: listening on 127\.0\.0\.1:(\d+)')[0])
        self.address = f'127.0.0.1:{self.port}'

    def kill(self):
        if self.program:
            self.program.kill()

    def json(self, path, body=None):
        return json.loads(ask(self.port, 'GET' if body is None else 'POST', path, body)[2])

    def fault(self, kind, **more):
        return self.json('/fault', {'kind': kind, **more})

    def received(self):
        return ask(self.port, 'GET', '/received')[2]

    def figure(self, name):
        return sum(figures(ask(self.port, 'GET', '/metrics')[2].decode())[name].values())

    def running(self):
        return self.figure('vllm:num_requests_running') + self.figure('vllm:num_requests_waiting')


class Serve(Program):
    """`llmd serve`, with every request in a log that is written at once."""

    def __init__(self, world, args):
        self.access, self.region = os.path.join(world.folder, 'access.log'), ''
        world.serve = self
        super().__init__(world.folder, 'serve', world.llmd + [
            'serve', '--listen', '127.0.0.1:0', '--admin', '127.0.0.1:0', '--set', 'log.buffer=0',
            '--set', 'log.access=' + self.access, '--set', 'caps.state_bytes=32MiB', '--set', 'caps.prefix_bytes=8MiB',
            '--set', 'caps.index_bytes=8MiB', *args])
        self.port = int(self.find(r'^serve: listening on 127\.0\.0\.1:(\d+)$')[0])
        self.region = f'/dev/shm/llmd-{os.geteuid()}-{self.port}'

    def admin(self):
        """The port of the agent that lives now."""
        return int(self.find(r'^agent: ready region=\S+ admin=(\d+) ')[-1])

    def pid(self, name):
        """Of the youngest process of that name."""
        return int(self.find(rf'^serve: {name} started pid=(\d+)$')[-1])

    def page(self, path):
        return ask(self.admin(), 'GET', path)[2].decode()

    def figures(self):
        return figures(self.page('/metrics'))

    def figure(self, name, label=''):
        return sum(v for k, v in self.figures().get(name, {}).items() if label in k)

    def endpoints(self):
        return json.loads(self.page('/endpoints'))['endpoints']

    def in_flight(self):
        """What the ledger and the counts of the workers hold to be under way."""
        ledger = sum(e['in_flight']['requests'] + e['in_flight']['tokens'] for e in self.endpoints())
        return ledger + self.figure('llm_d_epp_request_running')

    def wait_fresh(self, n):
        """Until n endpoints are there and what they tell is known and fresh."""
        def fresh():
            state = json.loads(self.page('/readyz'))
            return (state['endpoints'], state['fresh']) == (n, n)
        until(f'{n} endpoints are fresh', fresh)

    def lines(self, path=None):
        """The access log."""
        if not os.path.exists(path or self.access):
            return []
        with open(path or self.access, encoding='utf-8') as f:
            return [json.loads(line) for line in f if line.endswith('\n')]

    def line(self, request_id):
        return until(f'a line of the access log for {request_id}',
                     lambda: next((line for line in self.lines() if line['id'] == request_id), None))

    def idle_within(self, seconds):
        began = time.monotonic()
        until(f'nothing in flight: {json.dumps([e["in_flight"] for e in self.endpoints()])}',
              lambda: self.in_flight() == 0, seconds)
        return time.monotonic() - began


class World:
    def __init__(self, llmd):
        self.llmd, self.folder = llmd, tempfile.mkdtemp(prefix='llmd-serve-')
        self.engines, self.serve, self.others = [], None, []

    def start_engines(self, n, *options):
        return [Engine(self, len(self.engines), options) for _ in range(n)]

    def start_serve(self, *args, file=None):
        """In front of all engines, or as the file says."""
        where = [file] if file else ['--endpoints', ','.join(e.address for e in self.engines)]
        Serve(self, list(args) + where)
        self.serve.wait_fresh(len(self.engines))
        return self.serve

    def path(self, name):
        return os.path.join(self.folder, name)

    def write(self, name, text):
        """A file that is there as a whole or not at all."""
        with open(self.path(name) + '.new', 'w', encoding='utf-8') as f:
            f.write(text)
        os.replace(self.path(name) + '.new', self.path(name))
        return self.path(name)

    def end_well(self):
        """Everybody ends when told to, with code 0, and leaves nothing behind."""
        for program in [self.serve] + [e.program for e in self.engines]:
            if program.process.poll() is None:
                program.tell(signal.SIGTERM)
            same(f'{program.name} ends with code', program.wait(), 0)
        same('left behind', [n for n in (self.serve.region, self.serve.region + '.sock') if os.path.exists(n)], [])
        self.look_for_crashes()

    def look_for_crashes(self):
        """Nobody ended by itself (who was killed by us had signal 9), and no sanitizer has said anything."""
        for program in [self.serve] + [e.program for e in self.engines]:
            text = program.text()
            found = re.search(r'.*(ended by signal (?!9$)|ended with code|Sanitizer|runtime error).*', text, re.M)
            need(f'{program.name} is well:', not found, found and text[found.start():][:3000])

    def told(self):
        """The last of what everybody said, for who reads why a test failed."""
        out = []
        for program in [self.serve] + [e.program for e in self.engines]:
            if program and program.text():
                out += [f'--- {program.name}'] + program.text().splitlines()[-15:]
        return out

    def close(self):
        for other in self.others:
            other.close()
        if self.serve:
            family = [int(pid) for pid in re.findall(r'started pid=(\d+)$', self.serve.text(), re.M)]
            self.serve.kill()
            until('the processes of serve end', lambda: not any(is_alive(pid) for pid in family))
            for name in (self.serve.region, self.serve.region + '.sock'):
                if os.path.exists(name):
                    os.unlink(name)
        for engine in self.engines:
            engine.kill()
        shutil.rmtree(self.folder)


# ---- a plain client --------------------------------------------------------------------------------------------------

class Answer:
    """What came back: whole, or cut short, and how it ended."""

    def __init__(self):
        self.status, self.headers, self.body, self.whole, self.reset = 0, {}, b'', False, False
        self.continued, self.version = 0, b''

    def json(self):
        return json.loads(self.body)

    def events(self):
        """The data of a stream of events; [DONE] is checked and left out."""
        parts = self.body.decode().split('\n\n')
        same('end of the stream', parts[-2:], ['data: [DONE]', ''])
        return [json.loads(part.removeprefix('data: ')) for part in parts[:-2]]


class Raw:
    """One connection, byte by byte."""

    def __init__(self, port):
        self.socket = socket.create_connection(('127.0.0.1', port), PATIENCE)
        self.kept = b''

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data)
        return self

    def post(self, body, path='/v1/chat/completions', more='', version='1.1'):
        text = json.dumps(body).encode() if isinstance(body, (dict, list)) else body
        return self.send(f'POST {path} HTTP/{version}\r\nHost: x\r\nContent-Type: application/json\r\n{more}'
                         f'Content-Length: {len(text)}\r\n\r\n'.encode() + text)

    def more(self):
        """Reads some; b'' at the end."""
        data = self.socket.recv(65536)
        self.kept += data
        return data

    def take(self, mark):
        while mark not in self.kept:
            if not self.more():
                raise EOFError
        found, self.kept = self.kept.split(mark, 1)
        return found

    def exactly(self, n):
        while len(self.kept) < n:
            if not self.more():
                raise EOFError
        found, self.kept = self.kept[:n], self.kept[n:]
        return found

    def head(self, answer):
        line, *rest = self.take(b'\r\n\r\n').decode('latin-1').split('\r\n')
        answer.version, answer.status = line[:8], int(line.split(' ')[1])
        answer.headers = {k.lower(): v for k, v in (h.split(': ', 1) for h in rest)}
        if answer.status == 100:
            answer.continued += 1
            self.head(answer)

    def body(self, answer, method):
        if method == 'HEAD' or answer.status in (204, 304):
            pass
        elif answer.headers.get('transfer-encoding') == 'chunked':
            for n in iter(lambda: int(self.take(b'\r\n'), 16), 0):
                answer.body += self.exactly(n)
                same('end of a chunk', self.exactly(2), b'\r\n')
            same('end of the last chunk', self.exactly(2), b'\r\n')
        elif 'content-length' in answer.headers:
            n = int(answer.headers['content-length'])
            while len(self.kept) < n and self.more():
                pass
            answer.body = self.exactly(n)
        else:
            while self.more():
                pass
            answer.body, self.kept = self.kept, b''
        answer.whole = True

    def answer(self, method='POST'):
        answer = Answer()
        try:
            self.head(answer)
            self.body(answer, method)
        except EOFError:
            pass
        except ConnectionError:
            answer.reset = True
        return answer

    def rest(self):
        """All that still comes, and whether a reset ended it."""
        try:
            while self.more():
                pass
            return self.kept, False
        except ConnectionError:
            return self.kept, True

    def closed(self):
        """Whether nothing more comes."""
        try:
            return not self.kept and not self.more()
        except ConnectionError:
            return True
