#!/usr/bin/env python3
"""What `llmd serve` costs beside nginx: the same requests, the same engines, one worker each, interleaved.

    proxy.py BUILDDIR [--sizes 1,15,220] [--concurrency 1,8,64] [--pairs 9] [--seconds 2] [--stream] [--memory] [--soak SECONDS]
             [--direct] [--json]

Eight engines that answer at once (bench_upstream), and proxies before them: nginx, which takes them in turn, and
`llmd serve` with llm-d's default policy (approximate prefix index). Both write a buffered access log. A pair is one run of
each; its ratio is CPU per request of one over the other, as the kernel counts it for all of a proxy's processes. Printed:
medians over the pairs, with the ratios' least and most. nginx comes twice: with its default buffers, which put a body of
more than 16 KB into a file, and as somebody who knows would set it up, with room for the whole body in memory.

  --sizes        KB of prompt in a request
  --stream       also server-sent events: 100 a response, at once and one by one
  --memory       also resident memory: idle, and with 10,000 open streams
  --soak SECONDS also 1,000 requests a second for so long, every tenth a stream: does resident memory stay (600 to be sure)
  --direct       also the engines alone (what a proxy adds to the median time)

Needs nginx and wrk.
"""
import argparse
import collections
import json
import os
import re
import resource
import select
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

ENGINES = 8
REGION = f'/dev/shm/llmd-bench-{os.getpid()}'
NGINX = '''
daemon off;
user root;
worker_processes 1;
pid {dir}/nginx.pid;
error_log {dir}/nginx.err;
worker_rlimit_nofile 65536;
events {{ worker_connections 30000; }}
http {{
  access_log {dir}/nginx.log combined buffer=64k;
  client_max_body_size 64m;
  {body}
  client_body_temp_path {dir}/body;
  proxy_temp_path {dir}/proxy;
  fastcgi_temp_path {dir}/fcgi;
  uwsgi_temp_path {dir}/uwsgi;
  scgi_temp_path {dir}/scgi;
  keepalive_requests 100000000;
  upstream engines {{
    {servers}
    keepalive 256;
    keepalive_requests 100000000;
  }}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location / {{
      proxy_pass http://engines;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_buffering {buffering};
    }}
  }}
}}
'''
WRK = '''
local bodies = {}
for line in io.lines("@DIR@/bodies-@KB@") do bodies[#bodies + 1] = line end
local i = math.random(#bodies)
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
request = function()
  i = i % #bodies + 1
  return wrk.format(nil, "@PATH@", nil, bodies[i])
end
done = function(summary, latency)
  io.write(string.format("RESULT %d %d %d %d\\n", summary.requests, summary.duration,
    summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.status + summary.errors.timeout,
    latency:percentile(50)))
end
'''


def free_port():
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        return s.getsockname()[1]


def wait_port(port):
    for _ in range(200):
        with socket.socket() as s:
            if s.connect_ex(('127.0.0.1', port)) == 0:
                return
        time.sleep(0.05)
    raise SystemExit(f'nothing listens on {port}')


def family(pid):
    """The process and all that came from it."""
    pids, found = [pid], []
    while pids:
        p = pids.pop()
        found.append(p)
        try:
            for task in os.listdir(f'/proc/{p}/task'):
                with open(f'/proc/{p}/task/{task}/children', encoding='ascii') as f:
                    pids += [int(c) for c in f.read().split()]
        except OSError:
            pass
    return found


def cpu_of(pid):
    """Microseconds of CPU so far."""
    total = 0
    for p in family(pid):
        try:
            for task in os.listdir(f'/proc/{p}/task'):
                with open(f'/proc/{p}/task/{task}/schedstat', encoding='ascii') as f:
                    total += int(f.read().split()[0])
        except OSError:
            pass
    return total / 1e3


def resident(pid):
    """KiB, of all processes, shared pages counted once for each (Pss where the kernel says it)."""
    total = 0
    for p in family(pid):
        try:
            with open(f'/proc/{p}/smaps_rollup', encoding='ascii') as f:
                total += int(re.search(r'^Pss:\s+(\d+)', f.read(), re.M).group(1))
        except OSError:
            pass
    return total


def write_bodies(folder, kb):
    """64 prompts: eight systems, each with eight questions, on a line each."""
    with open(f'{folder}/bodies-{kb}', 'w', encoding='ascii') as f:
        for i in range(64):
            system = (f'System {i % 8} of the house. ' + 'Be brief and say what you know. ' * (kb * 1024 // 32))[:kb * 768]
            user = (f'Question {i}: ' + 'why is the sky as blue as it is? ' * (kb * 1024 // 32))[:max(kb * 256 - 160, 16)]
            f.write(json.dumps({'model': 'bench', 'messages': [{'role': 'system', 'content': system},
                                                               {'role': 'user', 'content': user}]}) + '\n')


def wrk(folder, port, kb, concurrency, seconds, path):
    script = f'{folder}/wrk.lua'
    with open(script, 'w', encoding='ascii') as f:
        f.write(WRK.replace('@DIR@', folder).replace('@KB@', str(kb)).replace('@PATH@', path))
    run = subprocess.run(['wrk', '-t1', f'-c{concurrency}', f'-d{seconds}', '-s', script, f'http://127.0.0.1:{port}'],
                         stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True, check=False)
    found = re.search(r'RESULT (\d+) (\d+) (\d+) (\d+)', run.stdout)
    if not found:
        raise SystemExit(run.stdout)
    requests, us, errors, p50 = map(int, found.groups())
    if errors or not requests:
        raise SystemExit(f'{errors} errors of {requests} requests at port {port}:\n{run.stdout}')
    return requests, us, p50


class Proxy:
    def __init__(self, name, process, port):
        self.name, self.process, self.port = name, process, port

    def measure(self, folder, kb, concurrency, seconds, path):
        """(CPU us a request, requests a second, median us)."""
        before = cpu_of(self.process.pid)
        requests, us, p50 = wrk(folder, self.port, kb, concurrency, seconds, path)
        return (cpu_of(self.process.pid) - before) / requests, requests / us * 1e6, p50


def start_nginx(name, folder, ports, buffering, body=''):
    port = free_port()
    conf = f'{folder}/nginx-{port}.conf'
    with open(conf, 'w', encoding='ascii') as f:
        f.write(NGINX.format(dir=folder, port=port, buffering=buffering, body=body,
                             servers=' '.join(f'server 127.0.0.1:{p};' for p in ports)))
    process = subprocess.Popen(['nginx', '-p', folder, '-c', conf], stderr=subprocess.DEVNULL)
    wait_port(port)
    return Proxy(name, process, port)


def start_serve(folder, build, ports):
    port = free_port()
    conf = f'{folder}/serve.yaml'
    endpoints = ', '.join(f'{{name: e{i}, address: 127.0.0.1, port: "{p}"}}' for i, p in enumerate(ports))
    with open(conf, 'w', encoding='ascii') as f:
        f.write(f'listen: 127.0.0.1:{port}\nadmin: ""\nregion: {REGION}\n'
                f'endpoints: {{endpoints: [{endpoints}]}}\nlog: {{access: {folder}/serve.log, level: warn}}\n')
    process = subprocess.Popen([f'{build}/examples/llmd/llmd', 'serve', conf])
    wait_port(port)
    time.sleep(1)
    return Proxy('llmd', process, port)


def row(args, name, value, unit, **more):
    if args.json:
        print(json.dumps({'row': name, 'value': round(value, 3), 'unit': unit, **more}))
    else:
        tail = ''.join(f'  {k} {v:.2f}' if isinstance(v, float) else f'  {k} {v}' for k, v in more.items())
        print(f'{name:66s} {value:10.2f} {unit}{tail}')
    sys.stdout.flush()


def compare(args, folder, proxies, kb, concurrency, label, path):
    """llmd, the last of them, beside each of the others."""
    seen = {p.name: [] for p in proxies}
    for pair in range(args.pairs):
        for p in proxies if pair % 2 == 0 else proxies[::-1]:
            seen[p.name].append(p.measure(folder, kb, concurrency, args.seconds, path))
    median = {n: [statistics.median(v[i] for v in s) for i in range(3)] for n, s in seen.items()}
    for other in [p.name for p in proxies[:-1]]:
        ratios = sorted(a[0] / b[0] for a, b in zip(seen['llmd'], seen[other]))
        row(args, f'serve / {other}, CPU a request, {label}', statistics.median(ratios), 'x',
            least=ratios[0], most=ratios[-1], us=median['llmd'][0], other_us=median[other][0],
            rps=median['llmd'][1], other_rps=median[other][1], p50_us=median['llmd'][2], other_p50_us=median[other][2])
    return median


def open_streams(proxy, count):
    body = b'{"model":"bench","stream":true,"messages":[{"role":"user","content":"hold"}]}'
    head = (b'POST /v1/chat/completions?events=2&hold=1 HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n'
            b'Content-Length: %d\r\n\r\n' % len(body))
    held = []
    for i in range(count):
        s = socket.socket()
        s.bind((f'127.0.0.{2 + i // 20000}', 0))
        s.connect(('127.0.0.1', proxy.port))
        s.sendall(head + body)
        held.append(s)
        if i % 64 == 63:  # not more at once than a backlog holds
            for t in held[-64:]:
                t.settimeout(30)
                if b'200' not in t.recv(4096):
                    raise SystemExit('a stream did not begin')
    return held


def idle(args, proxy, seconds=5):
    """Of a proxy that has just been started."""
    before = cpu_of(proxy.process.pid)
    time.sleep(seconds)
    row(args, f'{proxy.name}, idle, resident', resident(proxy.process.pid) / 1024, 'MiB',
        cpu_us_a_second=(cpu_of(proxy.process.pid) - before) / seconds)


def memory(args, proxy, count=10000):
    before = resident(proxy.process.pid)
    held = open_streams(proxy, count)
    time.sleep(1)
    now = resident(proxy.process.pid)
    row(args, f'{proxy.name}, {count} open streams, resident each', (now - before) / count, 'KiB', all_MiB=now / 1024)
    for s in held:
        s.close()


class Paced:
    """Requests at a given rate on a few kept connections, answers read and thrown away; one thread, no library."""

    def __init__(self, port, bodies, count=64):
        self.poll = select.epoll()
        self.idle, self.socket, self.tail = collections.deque(), {}, {}
        for _ in range(count):
            s = socket.create_connection(('127.0.0.1', port))
            s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.socket[s.fileno()], self.tail[s.fileno()] = s, b''
            self.idle.append(s.fileno())
            self.poll.register(s.fileno(), select.EPOLLIN)
        self.requests = []
        for i, body in enumerate(bodies):
            path = '/v1/chat/completions' + ('?events=20' if i % 10 == 0 else '')
            self.requests.append((f'POST {path} HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n'
                                  f'Content-Length: {len(body)}\r\n\r\n').encode() + body)
        self.sent = self.done = 0

    def read(self, timeout):
        for fd, _ in self.poll.poll(timeout):
            got = self.socket[fd].recv(65536)
            if not got:
                raise SystemExit('a connection was closed')
            self.tail[fd] = (self.tail[fd] + got)[-7:]
            if self.tail[fd].endswith(b'}}') or self.tail[fd] == b'\r\n0\r\n\r\n':
                self.idle.append(fd)
                self.tail[fd] = b''
                self.done += 1

    def run(self, seconds, rate):
        begun = time.monotonic()
        while time.monotonic() - begun < seconds:
            due = int((time.monotonic() - begun) * rate)
            while self.sent < due and self.idle:
                fd = self.idle.popleft()  # in turn: none of them idles until it is hung up
                self.socket[fd].sendall(self.requests[self.sent % len(self.requests)])
                self.sent += 1
            self.read(0.001)


def soak(args, folder, proxy, seconds):
    """Resident memory once the load has run for a fifth of the time, and at its end."""
    bodies = []
    for kb in (1, 1, 1, 15):
        write_bodies(folder, kb)
        with open(f'{folder}/bodies-{kb}', 'rb') as f:
            bodies += f.read().splitlines()
    paced = Paced(proxy.port, bodies)
    begun = time.monotonic()
    paced.run(seconds / 5, 1000)
    early = resident(proxy.process.pid)
    paced.sent = 0
    paced.run(seconds * 4 / 5, 1000)
    late = resident(proxy.process.pid)
    row(args, f'{proxy.name}, grown under 1,000 requests a second', (late - early) / 1024, 'MiB', after_MiB=early / 1024,
        at_the_end_MiB=late / 1024, rps=paced.done / (time.monotonic() - begun))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('build')
    parser.add_argument('--sizes', default='1,15,220')
    parser.add_argument('--concurrency', default='1,8,64')
    parser.add_argument('--pairs', type=int, default=9)
    parser.add_argument('--seconds', type=int, default=2)
    parser.add_argument('--soak', type=int, default=0, metavar='SECONDS')
    for flag in ('stream', 'memory', 'direct', 'json'):
        parser.add_argument('--' + flag, action='store_true')
    args = parser.parse_args()
    for tool in ('nginx', 'wrk'):
        if not shutil.which(tool):
            print(f'skipped: needs {tool}')
            return 0
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 65536), hard))
    started = []
    with tempfile.TemporaryDirectory() as folder:
        try:
            upstream = subprocess.Popen([f'{args.build}/tests/bench/proxy/bench_upstream', str(ENGINES)],
                                        stdout=subprocess.PIPE, universal_newlines=True)
            started.append(upstream)
            ports = list(map(int, upstream.stdout.readline().split()))
            proxies = []
            for start in (lambda: start_nginx('nginx', folder, ports, 'on'),
                          lambda: start_nginx('nginx, 1 MB buffer', folder, ports, 'on', 'client_body_buffer_size 1m;'),
                          lambda: start_serve(folder, args.build, ports)):
                proxies.append(start())
                started.append(proxies[-1].process)
            if args.memory:
                idle(args, proxies[-1])
            for kb in map(int, filter(None, args.sizes.split(','))):
                write_bodies(folder, kb)
                for concurrency in map(int, args.concurrency.split(',')):
                    median = compare(args, folder, proxies, kb, concurrency, f'{kb} KB, {concurrency} at a time',
                                     '/v1/chat/completions')
                    if args.direct and concurrency == 1:
                        alone = statistics.median(wrk(folder, ports[0], kb, 1, args.seconds, '/v1/chat/completions')[2]
                                                  for _ in range(3))
                        for name in ('llmd', 'nginx'):
                            row(args, f'{name}, added to the median time, {kb} KB, 1 at a time', median[name][2] - alone, 'us')
            if args.stream:
                passing = start_nginx('nginx', folder, ports, 'off')
                started.append(passing.process)
                write_bodies(folder, 1)
                for concurrency in map(int, args.concurrency.split(',')):
                    compare(args, folder, [passing, proxies[-1]], 1, concurrency, f'100 events, {concurrency} at a time',
                            '/v1/chat/completions?events=100')
                for concurrency in map(int, args.concurrency.split(',')):
                    compare(args, folder, [passing, proxies[-1]], 1, concurrency,
                            f'100 events one by one, {concurrency} at a time', '/v1/chat/completions?events=100&gap=500')
            if args.soak:
                soak(args, folder, proxies[-1], args.soak)
            if args.memory:
                memory(args, proxies[-1])
        finally:
            for p in started[::-1]:
                p.send_signal(signal.SIGTERM)
            for p in started[::-1]:
                try:
                    p.wait(10)
                except subprocess.TimeoutExpired:
                    p.kill()
            if os.path.exists(REGION):  # who names it keeps it
                os.unlink(REGION)
    return 0


if __name__ == '__main__':
    sys.exit(main())
