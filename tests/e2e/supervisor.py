#!/usr/bin/env python3
"""`llmd serve` as a family of processes: who starts whom, who is started again, what signals and files do.

    supervisor.py LLMD

Prints TAP. What passes through the proxy is tested elsewhere; engines here are `llmd engine --instant` and a server
that answers when it is told to. Every step waits for what it wants to see.
"""
import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, '..', 'lint'))
import tap  # noqa: E402
from world import PATIENCE, Wrong, is_alive, same, until  # noqa: E402

BODY = json.dumps({'model': 'llmd-filler', 'messages': [{'role': 'user', 'content': 'hello'}]})


class Program:
    """A process whose standard error is a file that can be read while it runs."""

    def __init__(self, folder, name, args):
        self.log = os.path.join(folder, f'{name}.err')
        with open(self.log, 'w') as err, open(os.path.join(folder, f'{name}.out'), 'w') as out:
            self.process = subprocess.Popen(args, stdin=subprocess.DEVNULL, stdout=out, stderr=err, cwd=folder)

    def text(self):
        with open(self.log) as f:
            return f.read()

    def find(self, pattern):
        """All matches, waited for until there is one."""
        def look():
            if self.process.poll() is not None and not re.search(pattern, self.text(), re.M):
                raise Wrong(f'ended before it said {pattern}: {self.text()}')
            return re.findall(pattern, self.text(), re.M)
        return until(f'{pattern} in:\n{self.text()}', look)

    def wait(self):
        try:
            return self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            raise Wrong(f'still there: {self.text()}') from None

    def end(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


class Serve(Program):
    number = 0

    def __init__(self, llmd, folder, args):
        Serve.number += 1
        super().__init__(folder, f'serve-{Serve.number}', llmd + ['serve', '--listen', '127.0.0.1:0'] + args)

    def port(self):
        return int(self.find(r'^serve: listening on 127\.0\.0\.1:(\d+)$')[0])

    def pid(self, name):
        """Of the youngest process of that name."""
        return int(self.find(rf'^serve: {name} started pid=(\d+)$')[-1])

    def ask(self, path='/v1/chat/completions', body=BODY):
        c = http.client.HTTPConnection('127.0.0.1', self.port(), timeout=PATIENCE)
        try:
            c.request('POST', path, body, {'Content-Type': 'application/json'})
            answer = c.getresponse()
            answer.read()
            return answer.status
        finally:
            c.close()

    def end(self):
        """Killed, it leaves its region behind; the next one on that port would make it anew."""
        super().end()
        for port in re.findall(r'^serve: listening on .*:(\d+)$', self.text(), re.M):
            if os.path.exists(f'/dev/shm/llmd-{os.geteuid()}-{port}'):
                os.unlink(f'/dev/shm/llmd-{os.geteuid()}-{port}')

    def region(self):
        return f'/dev/shm/llmd-{os.geteuid()}-{self.port()}'


class Slow:
    """An engine that holds its answers back until it is told."""

    def __init__(self):
        self.socket = socket.create_server(('127.0.0.1', 0))
        self.address = '127.0.0.1:%d' % self.socket.getsockname()[1]
        self.asked, self.go = threading.Event(), threading.Event()
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                client, _ = self.socket.accept()
            except OSError:
                return
            threading.Thread(target=self.answer, args=(client,), daemon=True).start()

    def answer(self, client):
        with client, client.makefile('rb') as lines:
            while True:
                first, length = lines.readline(), 0
                for line in iter(lines.readline, b'\r\n'):
                    if not line:
                        return
                    if line.lower().startswith(b'content-length:'):
                        length = int(line.split(b':')[1])
                lines.read(length)
                if not first:
                    return
                if first.startswith(b'POST'):
                    self.asked.set()
                    self.go.wait(PATIENCE)
                body = b'{}'
                client.sendall(b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s'
                               % (len(body), body))

    def end(self):
        self.go.set()
        self.socket.close()


def with_engine(test):
    def run(llmd):
        folder = tempfile.mkdtemp(prefix='llmd-supervisor-')
        engine = Program(folder, 'engine', llmd + ['engine', '--instant', '--port', '0'])
        serve = []
        try:
            address = engine.find(r'^engine: listening on (\S+)')[0]
            test(lambda *args: serve.append(Serve(llmd, folder, ['--admin', '127.0.0.1:0'] + list(args))) or serve[-1],
                 address, folder)
        finally:
            for s in serve:
                s.end()
            engine.end()
            shutil.rmtree(folder)
    return run


# ---- tests ---------------------------------------------------------------------------------------------------------

@with_engine
def comes_and_goes(start, engine, folder):
    s = start('--endpoints', engine, '--workers', '2')
    same('an answer', s.ask(), 200)
    pids = [s.process.pid, s.pid('agent'), s.pid('worker 0'), s.pid('worker 1')]
    region = s.region()
    same('region', os.path.exists(region), True)
    for name in ('agent', 'worker 0'):
        with open(f'/proc/{s.pid(name)}/comm') as f:
            same('as ps shows it', f.read(), f'llmd-{name.split()[0]}\n')
        with open(f'/proc/{s.pid(name)}/limits') as f:
            limit = next(line.split()[3:5] for line in f if line.startswith('Max open files'))
        same('descriptors', limit[0], limit[1])
    s.process.send_signal(signal.SIGTERM)
    same('exit code', s.wait(), 0)
    same('region after the end', os.path.exists(region), False)
    same('processes after the end', [p for p in pids if is_alive(p)], [])


@with_engine
def started_again(start, engine, folder):
    s = start('--endpoints', engine, '--workers', '2')
    s.port()
    for name in ('worker 0', 'worker 1', 'agent', 'worker 0', 'agent'):
        old = s.pid(name)
        os.kill(old, signal.SIGKILL)
        until(f'another {name}', lambda: s.pid(name) != old)
        for _ in range(20):
            same('an answer', s.ask(), 200)
    s.find(rf'^agent: ready .*pid={s.pid("agent")}$')
    s.process.send_signal(signal.SIGTERM)
    same('exit code', s.wait(), 0)


@with_engine
def dies_with_its_supervisor(start, engine, folder):
    s = start('--endpoints', engine, '--workers', '2')
    region = s.region()
    pids = [s.pid('agent'), s.pid('worker 0'), s.pid('worker 1')]
    s.process.kill()
    s.wait()
    until('children gone', lambda: not [p for p in pids if is_alive(p)])
    os.unlink(region)


@with_engine
def reloads(start, engine, folder):
    path = os.path.join(folder, 'serve.yaml')

    def write(text):
        with open(path + '.new', 'w') as f:
            f.write(f'endpoints: [{engine}]\n{text}')
        os.rename(path + '.new', path)

    def logged(name):
        """Whether requests are logged to that file now."""
        def lines():
            file = os.path.join(folder, name)
            return open(file).read().count('\n') if os.path.exists(file) else 0
        before = lines()
        same('an answer', s.ask(), 200)
        return lines() > before

    write('log: {buffer: 0, access: one.log}\n')
    s = start(path)
    same('the first log', logged('one.log'), True)
    write('log: {buffer: 0, access: two.log}\n')
    s.process.send_signal(signal.SIGHUP)
    until('another log', lambda: logged('two.log'))
    write('log: {buffer: 0, access: one.log}\nwrokers: 2\n')
    s.process.send_signal(signal.SIGHUP)
    s.find(r'serve\.yaml:3:1: wrokers: ')
    s.find(r'^serve: error: not reloaded')
    write('log: {buffer: 0, access: one.log}\npolicy:\n  apiVersion: llm-d.ai/v1alpha1\n'
          '  kind: EndpointPickerConfig\n  plugins:\n  - type: no-such\n')
    s.find(r'serve\.yaml:7:\d+: plugins\[0\]\.type: ')  # seen without a signal; the line is the file's
    same('the log stays', logged('two.log'), True)
    write('log: {buffer: 0, access: one.log}\n')
    until('another log, without a signal', lambda: logged('one.log'))
    same('nobody died', re.findall(r'was ended|ended with', s.text()), [])


@with_engine
def reloads_late_ones(start, engine, folder):
    """A worker that had read the file, and was not ready yet when another came."""
    path = os.path.join(folder, 'serve.yaml')

    def write(log):
        with open(path + '.new', 'w') as f:  # no such name: workers wait two seconds for endpoints, then go on without
            f.write('dns: [{name: nobody.invalid, port: 1}]\ndns_servers: "127.0.0.1:9"\n'
                    f'log: {{buffer: 0, access: {log}}}\n')
        os.rename(path + '.new', path)

    def logged():
        s.ask()
        return os.path.exists(os.path.join(folder, 'two.log')) and os.path.getsize(os.path.join(folder, 'two.log'))

    write('one.log')
    s = start(path)
    s.find('^agent: ready')
    time.sleep(0.5)  # the worker has read its file by now, most likely, and is not ready; else this proves less
    write('two.log')
    s.process.send_signal(signal.SIGHUP)
    s.find('^serve: reloaded')
    s.port()
    until('the other log', logged)
    same('nobody died', re.findall(r'was ended|ended with', s.text()), [])


@with_engine
def neighbours(start, engine, folder):
    """The same port of another address; and on one's own, while a former one drains."""
    for _ in range(20):  # the port may be somebody else's there
        first = start('--endpoints', engine)
        region, port = first.region(), first.port()
        inode = os.stat(region).st_ino
        second = start('--endpoints', engine, '--listen', f'127.0.0.2:{port}')
        until('it listens, or gives up', lambda: second.process.poll() is not None or 'serve: listening' in second.text())
        if 'Address already in use' not in second.text():
            break
        first.process.kill()
        first.wait()
    second.find(r'^serve: listening on 127\.0\.0\.2:')
    same('the first one keeps its region', os.stat(region).st_ino, inode)
    old = first.pid('worker 0')
    os.kill(old, signal.SIGKILL)
    until('another worker', lambda: first.pid('worker 0') != old)
    for _ in range(5):
        same('an answer', first.ask(), 200)
    second.process.send_signal(signal.SIGTERM)
    same('exit code', second.wait(), 0)
    same('and keeps it still', os.stat(region).st_ino, inode)
    same('the second leaves nothing', os.path.exists(f'/dev/shm/llmd-{os.geteuid()}-pid{second.process.pid}'), False)


@with_engine
def successors(start, engine, folder):
    """One that starts on the port of one that drains keeps its region when that one has ended."""
    slow = Slow()
    try:
        first = start('--endpoints', slow.address)
        port, region = first.port(), first.region()
        client = threading.Thread(target=first.ask)
        client.start()
        if not slow.asked.wait(PATIENCE):
            raise Wrong('the engine was never asked')
        first.process.send_signal(signal.SIGTERM)
        first.find('draining')
        os.unlink(region)  # as one does that comes when the agent has gone already, and its supervisor not
        second = start('--endpoints', engine, '--listen', f'127.0.0.1:{port}')
        same('region', second.region(), region)
        inode = os.stat(region).st_ino
        slow.go.set()
        same('exit code', first.wait(), 0)
        client.join(PATIENCE)
        same('it is there still', os.stat(region).st_ino, inode)
    finally:
        slow.end()


@with_engine
def one_line_each(start, engine, folder):
    with open(os.path.join(folder, 'pool.yaml'), 'w') as f:
        address, port = engine.rsplit(':', 1)
        f.write('endpoints:\n- name: "one\\nserve: forged\\e[31m"\n  address: "%s"\n  port: %s\n' % (address, port))
    s = start('--endpoints', os.path.join(folder, 'pool.yaml'))
    s.port()
    same('lines of its own', re.findall('^serve: forged', s.text(), re.M), [])
    same('what a terminal would do', '\x1b' in s.text(), False)


@with_engine
def drains(start, engine, folder):
    slow = Slow()
    status = []
    try:
        s = start('--endpoints', slow.address)
        port = s.port()
        client = threading.Thread(target=lambda: status.append(s.ask()))
        client.start()
        if not slow.asked.wait(PATIENCE):
            raise Wrong('the engine was never asked')
        for child in (s.pid('worker 0'), s.pid('agent')):  # as systemd does: everybody is told at once
            os.kill(child, signal.SIGTERM)
        s.process.send_signal(signal.SIGTERM)

        def refused():
            try:
                socket.create_connection(('127.0.0.1', port), 5).close()
                return False
            except OSError:
                return True
        until('no new connections', refused)
        same('still running', s.process.poll(), None)
        slow.go.set()
        same('exit code', s.wait(), 0)
        client.join(PATIENCE)
        same('the answer under way', status, [200])
    finally:
        slow.end()


@with_engine
def hurries(start, engine, folder):
    slow = Slow()
    try:
        s = start('--endpoints', slow.address)
        c = http.client.HTTPConnection('127.0.0.1', s.port(), timeout=PATIENCE)
        c.request('POST', '/v1/chat/completions', BODY)
        if not slow.asked.wait(PATIENCE):
            raise Wrong('the engine was never asked')
        s.process.send_signal(signal.SIGTERM)
        s.find('draining')
        while s.process.poll() is None:  # the second one counts from half a second on
            time.sleep(0.2)
            if s.process.poll() is None:
                s.process.send_signal(signal.SIGTERM)
        same('exit code', s.wait(), 0)
        same('why', len(re.findall('stopping at once', s.text())) > 0, True)
        c.close()
    finally:
        slow.end()


@with_engine
def refusals(start, engine, folder):
    taken = socket.create_server(('127.0.0.1', 0))
    busy = '127.0.0.1:%d' % taken.getsockname()[1]
    s = start('--endpoints', engine, '--listen', busy)
    same('exit code', s.wait(), 1)
    same('why', 'cannot listen on ' + busy in s.text(), True)
    s = start('--endpoints', engine, '--admin', busy)
    same('exit code of one whose agent cannot start', s.wait(), 1)
    taken.close()
    s = start('--endpoints', engine, '--listen', 'nonsense')
    same('exit code', s.wait(), 1)
    s = start()
    same('exit code without endpoints', s.wait(), 2)
    same('what was left over', [n for n in os.listdir('/dev/shm') if n.endswith('-' + busy.split(':')[1])], [])


@with_engine
def on_a_path(start, engine, folder):
    path = os.path.join(folder, 'serve.sock')
    for _ in range(2):  # the second finds what the first, killed, has left
        s = start('--endpoints', engine, '--listen', 'unix:' + path)
        s.find('^serve: listening on unix:' + re.escape(path) + '$')
        with socket.socket(socket.AF_UNIX) as c:
            c.connect(path)
            c.sendall(b'POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s'
                      % (len(BODY), BODY.encode()))
            same('an answer', c.recv(15), b'HTTP/1.1 200 OK')
        pids = [s.pid('agent'), s.pid('worker 0')]
        region = f'/dev/shm/llmd-{os.geteuid()}-pid{s.process.pid}'
        s.process.kill()
        s.wait()
        until('children gone', lambda: not [p for p in pids if is_alive(p)])
        os.unlink(region)


def checks(llmd):
    def said(*args):
        p = subprocess.run(llmd + ['serve', '--check'] + list(args), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                           timeout=PATIENCE, check=False)
        return p.returncode, p.stdout.decode(), p.stderr.decode()
    code, out, _ = said('--endpoints', '10.0.0.1:8000,10.0.0.2:8000', '--workers', '3')
    same('code', code, 0)
    same('plan', [line.split()[0] for line in out.splitlines()],
         ['listen', 'admin', 'region', 'agent', 'policy', 'endpoints'])
    same('workers', '3 workers' in out, True)
    example = os.path.join(HERE, '..', '..', 'examples', 'llmd', 'serve.yaml')
    code, out, err = said(example)
    same('the example', (code, err, '2 from' in out), (0, '', True))
    code, _, err = said('--endpoints', '/no/such/pool.yaml')
    same('code', code, 1)
    same('why', 'No such file' in err, True)
    code, _, err = said('--set', 'limits.bdy=1', '--endpoints', 'a:1')
    same('code', code, 1)
    same('which', 'limits.bdy' in err, True)
    same('code', said('--worker', '0')[0], 2)


def attempt(name, test, *args):
    try:
        test(*args)
        tap.point(name)
    except (Wrong, OSError, ValueError, http.client.HTTPException) as error:
        tap.point(name, str(error).splitlines() or [repr(error)])


def main(llmd):
    program = tap.program(os.path.abspath(llmd))
    attempt('--check says what would run', checks, program)
    attempt('comes and goes, and leaves nothing', comes_and_goes, program)
    attempt('who is killed is started again', started_again, program)
    attempt('children die with their supervisor', dies_with_its_supervisor, program)
    attempt('reloads, right and wrong', reloads, program)
    attempt('reloads those who were not ready', reloads_late_ones, program)
    attempt('the same port of another address', neighbours, program)
    attempt('a successor on a port that is being left', successors, program)
    attempt('names make no lines in the log', one_line_each, program)
    attempt('SIGTERM drains', drains, program)
    attempt('a second SIGTERM does not', hurries, program)
    attempt('what cannot start ends', refusals, program)
    attempt('on a unix socket', on_a_path, program)
    tap.done()


if __name__ == '__main__':
    main(*sys.argv[1:])
