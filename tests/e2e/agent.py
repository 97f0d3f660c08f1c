#!/usr/bin/env python3
"""`llmd agent` with engines that are recorded pages, and processes that only decide on its region.

    agent.py LLMD DECIDER

Prints TAP. Nothing here depends on how fast the machine is: every step waits for what it wants to see.
"""
import http.client
import http.server
import json
import os
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, '..', 'lint'))
import tap  # noqa: E402
from world import PATIENCE, Wrong, same, until  # noqa: E402

STALE = 4        # LLMD_LADDER_STALE

PAGE = '''# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{{model_name="m"}} {running}
# HELP vllm:num_requests_waiting Number of requests waiting to be processed.
# TYPE vllm:num_requests_waiting gauge
vllm:num_requests_waiting{{model_name="m"}} {waiting}
# HELP vllm:kv_cache_usage_perc KV-cache usage. 1 means 100 percent usage.
# TYPE vllm:kv_cache_usage_perc gauge
vllm:kv_cache_usage_perc{{model_name="m"}} 0.25
# HELP vllm:cache_config_info Information of the LLMEngine CacheConfig
# TYPE vllm:cache_config_info gauge
vllm:cache_config_info{{block_size="16",num_gpu_blocks="4096"}} 1.0
'''


# ---- engines -------------------------------------------------------------------------------------------------------

class Engine:
    """Serves a page of metrics and its models until it is closed; port 0 = any that is free."""

    def __init__(self, running, port=0):
        engine = self
        self.running, self.pages = running, 0

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = 'HTTP/1.1'

            def do_GET(self):
                if self.path == '/metrics':
                    engine.pages += 1
                    self.reply(PAGE.format(running=engine.running, waiting=0).encode(), 'text/plain')
                elif self.path == '/v1/models':
                    self.reply(b'{"object":"list","data":[{"id":"m"}]}', 'application/json')
                else:
                    self.send_error(404)

            def reply(self, body, kind):
                self.send_response(200)
                self.send_header('Content-Type', kind)
                self.send_header('Content-Length', str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args):
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True
            allow_reuse_address = True

            def process_request(self, request, client_address):
                engine.open.append(request)
                super().process_request(request, client_address)

            def handle_error(self, request, client_address):
                pass

        self.open = []
        self.server = Server(('127.0.0.1', port), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()
        for connection in self.open:
            try:
                connection.shutdown(2)
            except OSError:
                pass


def pool_file(path, ports):
    lines = ['endpoints:']
    for i, port in enumerate(ports):
        lines += [f'- name: engine-{i}', '  address: 127.0.0.1', f'  port: "{port}"']
    with open(path + '.new', 'w', encoding='utf-8') as f:
        f.write('\n'.join(lines) + '\n')
    os.replace(path + '.new', path)


# ---- programs ------------------------------------------------------------------------------------------------------

class Program:
    """A process whose lines are read as they come; killed at the end, whatever happens."""

    def __init__(self, *args):
        self.process = subprocess.Popen(args, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.out, self.err = [], []
        self.readers = [threading.Thread(target=self.read, args=pair, daemon=True)
                        for pair in ((self.process.stdout, self.out), (self.process.stderr, self.err))]
        for reader in self.readers:
            reader.start()

    @staticmethod
    def read(stream, lines):
        for line in stream:
            lines.append(line.decode('utf-8', 'replace').rstrip('\n'))

    def said(self, text):
        return next((line for line in list(self.err) if text in line), None)

    def last(self):
        return json.loads(self.out[-1]) if self.out else None

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()

    def end(self, number=None):
        """Asks it to stop (or ends its input); its exit code."""
        if number is None:
            self.process.stdin.close()
        else:
            self.process.send_signal(number)
        try:
            code = self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise Wrong('it does not stop\n' + '\n'.join(self.err[-20:])) from None
        for reader in self.readers:
            reader.join(PATIENCE)
        return code


class Agent(Program):
    def __init__(self, house, *more, admin='127.0.0.1:0'):
        super().__init__(house.llmd, 'agent', '--region', house.region, '--admin', admin, *house.settings, *more)
        house.programs.append(self)

    def wait_ready(self):
        until('ready line of the agent: ' + '\n'.join(self.err[-5:]),
              lambda: self.said('agent: ready') or self.process.poll() is not None)
        line = self.said('agent: ready')
        if not line:
            raise Wrong('the agent ended: ' + '\n'.join(self.err))
        self.port = int(line.split('admin=')[1].split()[0])
        return self

    def get(self, path, method='GET'):
        connection = http.client.HTTPConnection('127.0.0.1', self.port, timeout=PATIENCE)
        try:
            connection.request(method, path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode('utf-8')
        finally:
            connection.close()

    def ready(self):
        return self.get('/readyz')[0] == 200

    def endpoints(self):
        return json.loads(self.get('/endpoints')[1])['endpoints']

    def in_flight(self):
        return sum(e['in_flight']['requests'] for e in self.endpoints())


class House:
    """A folder, two engines, and what runs on them."""

    def __init__(self, llmd, decider):
        self.llmd, self.decider_path = llmd, decider
        self.folder = tempfile.mkdtemp(prefix='llmd-agent-')
        self.region = os.path.join(self.folder, 'region')
        self.pool = os.path.join(self.folder, 'pool.yaml')
        self.file = os.path.join(self.folder, 'service.yaml')
        self.engines = [Engine(1), Engine(2)]
        self.programs = []
        self.settings = ['--set', 'metrics.stale=500ms', '--set', 'metrics.unknown=2s', '--set', 'caps.state_bytes=32MiB',
                         '--set', 'caps.prefix_bytes=8MiB', '--set', 'caps.index_bytes=8MiB']
        pool_file(self.pool, [e.port for e in self.engines])
        self.write('')

    def write(self, more):
        with open(self.file + '.new', 'w', encoding='utf-8') as f:
            f.write('endpoints: pool.yaml\n' + more)
        os.replace(self.file + '.new', self.file)

    def agent(self, *more):
        return Agent(self, *more, self.file)

    def decider(self, *args, region=None):
        program = Program(self.decider_path, region or self.region, *args)
        self.programs.append(program)
        return program

    def close(self):
        for program in self.programs:
            program.kill()
        for engine in self.engines:
            engine.close()
        shutil.rmtree(self.folder)


def attempt(name, check, *args, skip=None):
    if skip:
        tap.point(name, skip=skip)
        return
    house = House(*args)
    try:
        check(house)
        tap.point(name)
    except (Wrong, OSError, subprocess.SubprocessError, http.client.HTTPException) as wrong:
        lines = str(wrong).splitlines()[:40]
        for program in house.programs:
            lines += [f'--- {program.process.args[0]}'] + program.err[-10:] + program.out[-3:]
        tap.point(name, lines or [repr(wrong)])
    finally:
        house.close()


# ---- what a person asks of it --------------------------------------------------------------------------------------

def usage(house):
    def run(*args):
        return subprocess.run([house.llmd, 'agent', *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False,
                              timeout=PATIENCE)
    same('exit code of --help', run('--help').returncode, 0)
    for args, text in ((('--nonsense',), 'unknown option'), ((), 'no endpoints'), (('a', 'b'), 'one FILE'),
                       (('--set', 'x'), 'KEY=VALUE'), (('--region',), 'needs a value')):
        answer = run(*args)
        if answer.returncode != 2 or text not in answer.stderr.decode():
            raise Wrong(f'{args}: exit code {answer.returncode}, {answer.stderr.decode()}')
    house.write('workerz: 3\n')
    for args, text in (((house.file,), 'workerz'), (('/nowhere.yaml',), '/nowhere.yaml'),
                       (('--set', 'metrics.period=never', '--endpoints', house.pool), 'metrics.period')):
        answer = run('--region', house.region, *args)
        if answer.returncode != 1 or text not in answer.stderr.decode():
            raise Wrong(f'{args}: exit code {answer.returncode}, {answer.stderr.decode()}')


def pages(house):
    agent = house.agent().wait_ready()
    until('/readyz says 200', agent.ready)
    same('/healthz', agent.get('/healthz'), (200, 'ok\n'))
    state = json.loads(agent.get('/readyz')[1])
    same('ready', (state['ready'], state['endpoints']), (True, 2))
    until('both engines read', lambda: all(e['metrics']['running'] is not None for e in agent.endpoints()))
    endpoints = agent.endpoints()
    same('running', sorted(e['metrics']['running'] for e in endpoints), [1, 2])
    same('block size', [e['metrics']['block_size'] for e in endpoints], [16, 16])
    same('ports', sorted(e['port'] for e in endpoints), sorted(e.port for e in house.engines))
    same('names', sorted(e['name'] for e in endpoints), ['engine-0', 'engine-1'])
    same('/nothing', agent.get('/nothing')[0], 404)
    same('POST', agent.get('/metrics', 'POST')[0], 405)
    same('query', agent.get('/healthz?x=1')[0], 200)
    same('/explain', list(json.loads(agent.get('/explain')[1])), ['decisions'])
    same('mode of the region', os.stat(house.region).st_mode & 0o7777, 0o600)
    same('exit code after SIGTERM', agent.end(signal.SIGTERM), 0)


def counters(house):
    agent = house.agent().wait_ready()
    until('/readyz says 200', agent.ready)
    same('exit code of a decider', house.decider('count', '10').end(), 0)
    text = agent.get('/metrics')[1]
    run = subprocess.run(['promtool', 'check', 'metrics'], input=text.encode(), stdout=subprocess.PIPE,
                         stderr=subprocess.STDOUT, check=False, timeout=PATIENCE)
    odd = [x for x in run.stdout.decode().splitlines() if not ('llm_d_epp_' in x and 'abbreviated units' in x)]
    if run.returncode not in (0, 3) or odd: # 3: the linter; the reference's names are not ours to mend
        raise Wrong(f'promtool, exit code {run.returncode}: {odd}')
    seen, last = set(), None
    for line in text.splitlines():
        name = line.split()[2] if line.startswith('# ') else line.split('{')[0].split(' ')[0]
        family = last if last and name.startswith(last) and name[len(last):] in ('_bucket', '_sum', '_count') else name
        if family != last and family in seen:
            raise Wrong(f'{family} stands in two places')
        seen.add(family)
        last = family
    for name in ('llm_d_epp_ready_endpoints', 'llm_d_epp_info', 'llmd_agent_pages_total', 'llmd_agent_published_total',
                 'llmd_agent_endpoints', 'process_cpu_seconds_total'):
        if name not in seen:
            raise Wrong(f'no {name} on the page')
    if 'llmd_decisions_total 10' not in text.splitlines():
        raise Wrong('10 decisions expected: ' + str([x for x in text.splitlines() if 'decisions_total' in x]))
    same('exit code after SIGINT', agent.end(signal.SIGINT), 0)


# ---- deciding ------------------------------------------------------------------------------------------------------

def deciding(house):
    agent = house.agent().wait_ready()
    until('/readyz says 200', agent.ready)
    decider = house.decider('count', '100')
    same('exit code', decider.end(), 0)
    same('routed', decider.last()['routed'], 100)
    same('steps of the ladder', decider.last()['ladders'], 0)
    if not set(decider.err) <= {f'127.0.0.1:{e.port}' for e in house.engines}:
        raise Wrong(f'routed to {set(decider.err)}')


def killed_deciders(house):
    agent = house.agent().wait_ready()
    until('/readyz says 200', agent.ready)
    holders = [house.decider('hold', str(n)) for n in (20, 5, 7)]
    until('all deciders hold', lambda: all(h.out for h in holders))
    same('in flight', agent.in_flight(), 32)
    begun = time.monotonic()
    holders[0].kill()
    until('12 in flight', lambda: agent.in_flight() == 12)
    tap.note(f'a killed decider\'s requests came back after {time.monotonic() - begun:.2f} s')
    holders[1].kill()
    holders[2].end()
    until('none in flight', lambda: agent.in_flight() == 0)
    until('it was told', lambda: len([x for x in agent.err if 'died' in x]) == 2)
    until('both are counted', lambda: 'llmd_agent_reaped_total 2' in agent.get('/metrics')[1])


def one_agent(house):
    agent = house.agent().wait_ready()
    second = house.agent()
    until('the second agent ends', lambda: second.process.poll() is not None)
    same('exit code', second.end(), 1)
    if not second.said(f'process {agent.process.pid} writes this region'):
        raise Wrong('it does not say who: ' + '\n'.join(second.err))
    until('the first goes on', agent.ready)


def killed_agent(house):
    first = house.agent().wait_ready()
    until('/readyz says 200', first.ready)
    before = sorted((e['name'], e['slot'], e['generation']) for e in first.endpoints())
    holder, runner = house.decider('hold', '9'), house.decider('loop', '2')
    until('they decide', lambda: holder.out and runner.out)
    same('writer', runner.last()['writer'], 1)
    first.kill()
    begun = runner.last()['routed']
    until('the decider sees it', lambda: runner.last()['writer'] == 0)
    until('it goes on, on a lower step', lambda: runner.last()['ladder'] & STALE)
    until('it goes on', lambda: runner.last()['routed'] > begun + 100)
    second = house.agent().wait_ready()
    until('the next one is ready', second.ready)
    if not second.said('takes over'):
        raise Wrong('nothing about a takeover: ' + '\n'.join(second.err))
    same('endpoints', sorted((e['name'], e['slot'], e['generation']) for e in second.endpoints()), before)
    until('the full policy again', lambda: runner.last()['writer'] == 1 and runner.last()['ladder'] == 0)
    same('requests that went nowhere', runner.last()['other'], 0)
    until('nothing in flight was lost', lambda: second.in_flight() in (9, 10)) # and one that the loop has just begun
    same('exit code of the holder', holder.end(), 0)
    same('exit code of the loop', runner.end(), 0)
    until('none in flight', lambda: second.in_flight() == 0)


def killed_again_and_again(house):
    """Agents and deciders, 10 times (LLMD_LONG=1: 200): no hang, counts come back to zero."""
    runner = None
    for i in range(200 if os.environ.get('LLMD_LONG') else 10):
        agent = house.agent().wait_ready()
        runner = runner or house.decider('loop', '1')
        until('ready', agent.ready)
        holder = house.decider('hold', str(i % 5 + 1))
        until('it holds', lambda: holder.out)
        (holder if i % 2 else agent).kill()
        (agent if i % 2 else holder).kill()
        house.programs = [p for p in house.programs if p.process.poll() is None]
    agent = house.agent().wait_ready()
    until('ready', agent.ready)
    same('requests that went nowhere', runner.last()['other'], 0)
    same('exit code of the loop', runner.end(), 0)
    until('none in flight', lambda: agent.in_flight() == 0)


# ---- refused -------------------------------------------------------------------------------------------------------

def refused(house, region, text):
    decider = house.decider('count', '1', region=region)
    same('exit code of a decider', decider.end(), 1)
    agent = Program(house.llmd, 'agent', '--region', region, '--admin', '127.0.0.1:0', *house.settings, house.file)
    house.programs.append(agent)
    same('exit code of an agent', agent.process.wait(PATIENCE), 1)
    agent.end()
    for program in (decider, agent):
        if not program.said(text):
            raise Wrong(f'{text!r} is not in: ' + '\n'.join(program.err))


def mismatches(house):
    house.agent().wait_ready().end(signal.SIGTERM)
    copy = os.path.join(house.folder, 'copy')
    shutil.copyfile(house.region, copy)
    os.chmod(copy, 0o600)
    with open(copy, 'r+b') as f:
        f.seek(8)
        layout = struct.unpack('<I', f.read(4))[0]
        f.seek(8)
        f.write(struct.pack('<I', layout + 40))
    refused(house, copy, f'layout {layout + 40}, this library has layout {layout}')
    os.chmod(house.region, 0o640)
    refused(house, house.region, 'mode 0640 gives more rights than 0600')
    os.chmod(house.region, 0o600)
    link = os.path.join(house.folder, 'link')
    os.symlink(house.region, link)
    refused(house, link, 'symbolic link')
    none = os.path.join(house.folder, 'none')
    decider = house.decider('count', '1', region=none)
    same('exit code without a region', decider.end(), 1)
    if not decider.said('there is no region'):
        raise Wrong('\n'.join(decider.err))


def owners(house):
    house.agent().wait_ready().end(signal.SIGTERM)
    os.chown(house.region, 12345, 0)
    refused(house, house.region, 'belongs to user 12345')


# ---- changes -------------------------------------------------------------------------------------------------------

def vanished_engines(house):
    agent = house.agent().wait_ready()
    until('/readyz says 200', agent.ready)
    ports = [e.port for e in house.engines]
    for engine in house.engines:
        engine.close()
    until('not ready', lambda: not agent.ready())
    state = json.loads(agent.get('/readyz')[1])
    same('why', state['why'], "no endpoint's metrics are fresh")
    same('endpoints stay', state['endpoints'], 2)
    until('their numbers are unknown', lambda: all(e['metrics']['running'] is None for e in agent.endpoints()))
    house.engines = [Engine(5, port) for port in ports]
    until('back', agent.ready)
    until('their numbers are back', lambda: [e['metrics']['running'] for e in agent.endpoints()] == [5, 5])


def reloads(house):
    agent = house.agent().wait_ready()
    until('/readyz says 200', agent.ready)
    before = {e['name']: (e['slot'], e['generation']) for e in agent.endpoints()}
    house.engines.append(Engine(3))
    pool_file(house.pool, [e.port for e in house.engines])
    until('the pool file is watched', lambda: len(agent.endpoints()) == 3)
    after = {e['name']: (e['slot'], e['generation']) for e in agent.endpoints()}
    same('those that were there', {n: after[n] for n in before}, before)
    policy = 'apiVersion: llm-d.ai/v1alpha1, kind: EndpointPickerConfig, plugins: [{type: no-such-plugin}]'
    for text, complaint in (('nonsense: true\n', 'nonsense'), ('policy: nowhere.yaml\n', 'nowhere.yaml'),
                            (f'policy: {{{policy}}}\n', 'no-such-plugin')):
        house.write(text)
        agent.process.send_signal(signal.SIGHUP)
        until(f'told of {complaint}', lambda: agent.said(complaint))
        same('endpoints', len(agent.endpoints()), 3)
    house.write('metrics: {period: 20ms}\nadmin: 127.0.0.1:1\n')
    agent.process.send_signal(signal.SIGHUP)
    until('it says so', lambda: agent.said('reloaded'))
    until('ready', agent.ready)
    if agent.said('admin stays'):
        raise Wrong('the option stands over the file')
    for _ in range(30):
        agent.process.send_signal(signal.SIGHUP)
        time.sleep(0.02)
    until('ready', agent.ready)
    pages = [e.pages for e in house.engines]
    until('all are asked', lambda: all(e.pages > n + 3 for e, n in zip(house.engines, pages)))
    same('exit code', agent.end(signal.SIGTERM), 0)


def removed_region(house):
    agent = house.agent().wait_ready()
    os.unlink(house.region)
    until('it is told', lambda: agent.said('was removed or replaced'))
    same('exit code', agent.end(signal.SIGTERM), 0)


def main(llmd, decider):
    programs = (os.path.abspath(llmd), os.path.abspath(decider))
    attempt('usage: wrong options, files, values', usage, *programs)
    attempt('pages: health, readiness, endpoints', pages, *programs)
    attempt('/metrics as Prometheus reads it', counters, *programs,
            skip=None if shutil.which('promtool') else 'needs promtool')
    attempt('a process that attaches decides', deciding, *programs)
    attempt('killed deciders: what they had in flight comes back', killed_deciders, *programs)
    attempt('a second agent is refused while the first lives', one_agent, *programs)
    attempt('a killed agent: deciders go on, the next one takes over', killed_agent, *programs)
    attempt('killed again and again', killed_again_and_again, *programs)
    attempt('other versions, modes and links are refused', mismatches, *programs)
    attempt('another owner is refused', owners, *programs,
            skip=None if os.geteuid() == 0 else 'needs root, to give a file away')
    attempt('engines that vanish and come back', vanished_engines, *programs)
    attempt('reloads, right and wrong', reloads, *programs)
    attempt('a region that was removed', removed_region, *programs)
    tap.done()


if __name__ == '__main__':
    main(*sys.argv[1:])
