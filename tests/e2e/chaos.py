#!/usr/bin/env python3
"""`llmd serve` while things die, hang, lie and change around it: chaos.py LLMD. Prints TAP.

Clients ask all the time; each test says exactly which of their requests may fail. Ten seconds or so each; with
LLMD_LONG=1 as long as the claims say (a minute of dying engines, two hundred killed processes).
"""
import http.client
import json
import os
import random
import signal
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.dont_write_bytecode = True
sys.path.insert(0, HERE)
sys.path.insert(0, os.path.join(HERE, '..', 'lint'))
import tap  # noqa: E402
from load import Load  # noqa: E402
from world import Raw, World, Wrong, chat, is_alive, need, same, state_of, until, until_running  # noqa: E402

LONG = os.environ.get('LLMD_LONG') == '1'
SOON = 10.0  # seconds until counts are back at zero; it takes one, and more on a machine that has much else to do
SPEED = '8'  # of engines: a token in some milliseconds, so that much is in flight


def only(what, load, serve, may_fail):
    """Requests that failed are such as may: may_fail(outcome, its line in the log or {})."""
    lines = {line['id']: line for line in serve.lines()}
    bad = [o for o in load.failed() if not may_fail(o, lines.get(o.id, {}))]
    need(f'{len(bad)} of {len(load.outcomes)} requests failed; {what}:', not bad,
         '\n'.join(f'{o} {json.dumps(lines.get(o.id))}' for o in bad[:8]))


def all_well(load, serve):
    only('none may', load, serve, lambda o, line: False)


def settled(world, outcomes=()):
    """Nothing is counted as under way, neither here nor by the engines, and every request has its line."""
    seconds = world.serve.idle_within(SOON)
    for engine in world.engines:
        until(f'{engine.address} has nothing to do', lambda e=engine: e.running() == 0, SOON)
    for line in world.serve.lines():
        need('at most three attempts:', line.get('attempts', 0) <= 3, line)
    failed = len([o for o in outcomes if o.problem])
    tap.note(f'{len(world.serve.lines())} requests, {failed} failed as they may; '
             f'counts back at zero after {seconds:.2f} s')


# ---- engines die -----------------------------------------------------------------------------------------------------

def engines_die(world):
    """Killed and started again one after the other. Only streams that the victim had begun may break off."""
    world.start_engines(4, '--speed', SPEED)
    serve = world.start_serve('--workers', '2')
    deaths = []
    with Load(serve.port) as load:
        end = time.monotonic() + (60 if LONG else 12)
        while time.monotonic() < end:
            turn = time.monotonic() + 1
            victim = world.engines[len(deaths) % 4]
            before = time.time()
            victim.kill()
            deaths.append((victim.address, before, time.time()))
            time.sleep(0.2)
            victim.start()
            time.sleep(max(0, turn - time.monotonic()))
        outcomes = load.stop()
    need('there was a load', len(outcomes) > 20 * len(deaths), len(outcomes))
    only('an answer that has begun may break off when its engine dies', load, serve, lambda o, line: (
        o.problem.startswith('cut short') and any(
            line.get('endpoint') == address and o.begin <= after and o.end >= before
            for address, before, after in deaths)))
    settled(world, outcomes)
    retries = serve.figure('llmd_proxy_retries_total')
    same('retries are what the attempts say', retries,
         sum(max(0, line.get('attempts', 0) - 1) for line in serve.lines()))
    need('retries are bounded', retries <= len(deaths) * (load.users + 10), (retries, len(deaths)))
    serve.wait_fresh(4)


# ---- reloads ---------------------------------------------------------------------------------------------------------

POLICY = '''
policy:
  apiVersion: llm-d.ai/v1alpha1
  kind: EndpointPickerConfig
  plugins:
  - type: queue-scorer
  - type: prefix-cache-scorer
  - type: max-score-picker
  schedulingProfiles:
  - name: default
    plugins:
    - pluginRef: queue-scorer
      weight: %d
    - pluginRef: prefix-cache-scorer
      weight: 3
    - pluginRef: max-score-picker
'''


def reloads(world):
    """Ten signals a second, every other one with a changed file; some files are not right."""
    world.start_engines(3, '--speed', SPEED)
    where = 'endpoints: [%s]\n' % ', '.join(e.address for e in world.engines)
    files = [where, where + 'limits: {body: 4MiB}\nupstream: {retries: 1}\n', where + POLICY % 2, where + 'limts: {}\n',
             where + POLICY % 5, where + 'policy: {kind: Nothing}\n']
    path = world.write('serve.yaml', where)
    serve = world.start_serve('--workers', '2', file=path)
    pids = [serve.process.pid] + [serve.pid(name) for name in ('agent', 'worker 0', 'worker 1')]
    turns = 600 if LONG else 100
    with Load(serve.port) as load:
        for i in range(turns):
            turn = time.monotonic() + 0.1
            if i % 2 == 0:
                world.write('serve.yaml', files[i // 2 % len(files)])
            serve.tell(signal.SIGHUP)
            time.sleep(max(0, turn - time.monotonic()))
        world.write('serve.yaml', where)
        outcomes = load.stop()
    all_well(load, serve)
    same('who lives', [is_alive(pid) for pid in pids], [True] * 4)
    said = serve.text()
    good, bad = said.count('serve: reloaded'), said.count('serve: error: not reloaded')
    need('it was reloaded', good >= turns // 2 and bad >= turns // 10, (good, bad))
    need('there was a load', len(outcomes) > turns, len(outcomes))
    tap.note(f'reloaded {good} times, refused {bad} times')
    settled(world, outcomes)


# ---- our own processes die -------------------------------------------------------------------------------------------

def clients_of(pid, port):
    """The clients' ports of the connections that a process has on our port."""
    inodes = set()
    for fd in os.listdir(f'/proc/{pid}/fd'):
        try:
            link = os.readlink(f'/proc/{pid}/fd/{fd}')
        except OSError:
            continue
        if link.startswith('socket:['):
            inodes.add(link[8:-1])
    with open('/proc/net/tcp', encoding='utf-8') as f:
        rows = [line.split() for line in f.readlines()[1:]]
    return {int(row[2].split(':')[1], 16) for row in rows if row[9] in inodes and int(row[1].split(':')[1], 16) == port}


def kill(serve, name):
    """-9. The clients whose connections died with it: it is stopped first, so that nobody comes or goes meanwhile."""
    pid = serve.pid(name)
    os.kill(pid, signal.SIGSTOP)
    until('it stands still', lambda: state_of(pid) == 'T')
    clients = clients_of(pid, serve.port)
    os.kill(pid, signal.SIGKILL)
    until(f'another {name}', lambda: serve.pid(name) != pid)
    return clients


def processes_die(world):
    """Workers and the agent, at random. Only who had a connection to a worker that died may lose its request."""
    world.start_engines(3, '--speed', SPEED)
    serve = world.start_serve('--workers', '3')
    pick, deaths, slowest = random.Random(7), [], 0.0
    with Load(serve.port) as load:
        time.sleep(1.5)
        for _ in range(200 if LONG else 20):
            name = pick.choice(['worker 0', 'worker 1', 'worker 2', 'agent'])
            before = time.time()
            clients = kill(serve, name)
            deaths.append((clients, before, time.time()))
            began = time.monotonic()
            with Raw(serve.port) as c:
                answer = c.post(chat(max_tokens=2)).answer()
            same('a new connection after a death', (answer.status, answer.whole), (200, True))
            slowest = max(slowest, time.monotonic() - began)
            time.sleep(pick.uniform(0.2, 0.6))
        time.sleep(1.0)
        outcomes = load.stop()
    only('what is in flight at a process that dies may', load, serve, lambda o, line: (
        o.problem.startswith(('cut short', 'no answer')) and any(
            o.port in clients and o.begin <= after and o.end >= before for clients, before, after in deaths)))
    tap.note(f'slowest first answer on a new connection after a death: {slowest * 1000:.0f} ms')
    need('there was a load', len(outcomes) > 20 * len(deaths), len(outcomes))
    settled(world, outcomes)
    same('who lives', [is_alive(serve.pid(n)) for n in ('agent', 'worker 0', 'worker 1', 'worker 2')], [True] * 4)
    until('all three take requests', lambda: serve.figure('llmd_proxy_workers') == 3)
    serve.wait_fresh(3)
    for _ in range(20):
        with Raw(serve.port) as c:
            same('an answer', c.post(chat()).answer().status, 200)


def a_dead_workers_counts(world):
    """A worker dies with a stream under way, and nothing else happens: who else would give it back?"""
    world.start_engines(2, '--speed', '1')
    serve = world.start_serve()
    for _ in range(3):
        with Raw(serve.port) as c:
            c.post(chat('Tell me more.', stream=True, max_tokens=2000))
            c.take(b'data: ')
            until('it is counted', lambda: serve.in_flight() > 0)
            until_running(world.engines, 1)
            kill(serve, 'worker 0')
            need('the client sees no end', b'[DONE]' not in c.rest()[0])
        tap.note(f'counts back at zero after {serve.idle_within(SOON):.2f} s')
        until_running(world.engines, 0)


# ---- engines misbehave -----------------------------------------------------------------------------------------------

PAGES = ('drip', 'endless', 'lie', 'nan', 'hang', 'binary', 'huge', 'reset', 'half', 'empty', '404', '500', 'none')


def pages_lie(world):
    """Metrics pages that drip, never end, lie, break off or are not there, on all engines, while requests pass."""
    world.start_engines(4, '--speed', SPEED)
    serve = world.start_serve('--set', 'metrics.timeout=300ms', '--set', 'metrics.stale=300ms', '--set',
                              'metrics.unknown=800ms', '--set', 'metrics.models=200ms')
    agent, unread, turns = serve.pid('agent'), 0, (120 if LONG else 12)
    with Load(serve.port) as load:
        for turn in range(turns):
            for i, engine in enumerate(world.engines):
                engine.fault('none')
                kind = PAGES[(turn + 3 * i) % len(PAGES)] if turn != 5 else 'hang'
                if kind != 'none':
                    engine.fault(kind, path='/metrics')
            time.sleep(1.0)
            unread = max(unread, 4 - json.loads(serve.page('/readyz'))['fresh'])
        for engine in world.engines:
            engine.fault('none')
        serve.wait_fresh(4)
        outcomes = load.stop()
    all_well(load, serve)
    need('pages were missed', unread > 0)
    need('there was a load', len(outcomes) > 20 * turns, len(outcomes))
    same('the agent that lives', (serve.pid('agent'), is_alive(agent)), (agent, True))
    with open(f'/proc/{agent}/status', encoding='utf-8') as f:
        anonymous = next(int(line.split()[1]) for line in f if line.startswith('RssAnon:'))
    need('the agent does not swell', anonymous < 64 << 10, f'{anonymous} KiB')
    settled(world, outcomes)


def engines_go_on(serve):
    """No endpoint is put aside for what the tests make it do."""
    return ['--set', 'health.failures=0', '--set', 'upstream.retries=2', *serve]


def the_one_asked(world):
    """Which engine has the request that is under way, as the ledger sees it."""
    port = until('a request in flight', lambda: [e['port'] for e in world.serve.endpoints()
                                                 if e['in_flight']['requests']])[0]
    return next(e for e in world.engines if e.port == port)


def fault_everywhere(world, kind, **more):
    for engine in world.engines:
        engine.fault('none')
        if kind != 'none':
            engine.fault(kind, **more)


def answers_break_off(world):
    """An answer cut short is seen as cut short: a reset, never an end that looks like one. Errors pass as they are."""
    world.start_engines(2, '--speed', '50')
    serve = world.start_serve(*engines_go_on([]))
    for kind, more in (('half', {}), ('reset', {'bytes': 30})):
        for version in ('1.1', '1.0'):
            for stream in (False, True):
                fault_everywhere(world, kind, **more)
                with Raw(serve.port) as c:
                    got = c.post(chat(stream=stream), version=version).answer()
                    need(f'{kind} {more} {version} stream={stream}: a reset after the head',
                         (got.status, got.whole, got.reset) == (200, False, True), vars(got))
    same('broken off', serve.figure('llmd_proxy_upstream_broken_total', 'after-first-byte'), 8)
    same('as errors', serve.figure('llm_d_epp_request_error_total', 'ModelServer'), 8)
    for kind, status in (('500', 500), ('503', 503), ('junk', 200), ('418', 418)):
        fault_everywhere(world, kind)
        with Raw(serve.port) as c:
            for _ in range(2):
                got = c.post(chat(stream=True)).answer()
                same(kind, (got.status, got.whole), (status, True))
                if kind != 'junk':
                    same('its own error', got.json()['error']['message'], 'The engine was asked to fail.')
    same('nothing was sent twice', serve.figure('llmd_proxy_retries_total'), 0)
    fault_everywhere(world, 'none')
    with Raw(serve.port) as c:
        same('and then', c.post(chat()).answer().status, 200)
    settled(world)


def first_bytes_do_not_come(world):
    """What has not begun is sent again, what may not be sent twice is not, and nobody waits for ever."""
    world.start_engines(2, '--speed', '50')
    serve = world.start_serve(*engines_go_on(['--set', 'upstream.first_byte=5m']))
    fault_everywhere(world, 'close', count=1)
    with Raw(serve.port) as c:
        for _ in range(4):
            same('on a connection that is gone', c.post(chat()).answer().status, 200)
    for engines, status in ((1, 200), (2, 502)):
        fault_everywhere(world, 'none')
        for engine in world.engines[:engines]:
            engine.fault('reset', bytes=0)
        with Raw(serve.port) as c:
            for _ in range(3):
                same(f'{engines} of 2 engines break the connection', c.post(chat()).answer().status, status)
    for path, status in (('/v1/chat/completions', 200), ('/v1/completions', 200), ('/orders', 502)):
        fault_everywhere(world, 'hang', path=path)
        with Raw(serve.port) as c:
            c.post({**chat(), 'prompt': 'x'}, path=path)
            victim = the_one_asked(world)
            for engine in world.engines:
                if engine is not victim:
                    engine.fault('none')
            victim.kill()
            got = c.answer()
            same(f'{path}, its engine killed before it answered', (got.status, got.whole), (status, True))
            if status == 502:
                same('an error as OpenAI has it', sorted(got.json()['error']), ['code', 'message', 'param', 'type'])
            got = c.post(chat()).answer()
            same('and the next, with nobody on that port', (got.status, got.whole), (200, True))
        victim.start()
        serve.wait_fresh(2)
    fault_everywhere(world, 'hang')
    with Raw(serve.port) as c:
        c.post(chat())
        the_one_asked(world)
    line = until('the log says that the client left', lambda: [x for x in serve.lines() if x['status'] == 499])
    same('once', len(line), 1)
    settled(world)


def time_runs_out(world):
    """Engines that never answer, or stop in the middle."""
    world.start_engines(2, '--speed', '50')
    serve = world.start_serve(*engines_go_on(['--set', 'upstream.first_byte=500ms', '--set', 'upstream.idle=500ms']))
    fault_everywhere(world, 'hang')
    with Raw(serve.port) as c:
        for _ in range(2):
            got = c.post(chat()).answer()
            same('no first byte', (got.status, got.whole), (504, True))
            same('an error as OpenAI has it', sorted(got.json()['error']), ['code', 'message', 'param', 'type'])
    fault_everywhere(world, 'slow', first_ms=0, token_ms=600000)
    with Raw(serve.port) as c:
        got = c.post(chat(stream=True)).answer()
        same('stops in the middle', (got.status, got.whole, got.reset), (200, False, True))
    fault_everywhere(world, 'none')
    with Raw(serve.port) as c:
        same('and then', c.post(chat()).answer().status, 200)
    settled(world)


def faults_under_load(world):
    """Every tenth answer breaks off or is an error: the clients see just that, and the counts come out even."""
    world.start_engines(3, '--speed', SPEED)
    serve = world.start_serve(*engines_go_on(['--workers', '2', '--set', 'upstream.first_byte=1s']))
    for engine in world.engines:
        for kind, probability in (('half', 0.1), ('500', 0.1), ('hang', 0.01), ('close', 0.05)):
            engine.fault(kind, probability=probability)
    with Load(serve.port) as load:
        time.sleep(60 if LONG else 8)
        outcomes = load.stop()
    only('what the engine breaks off, its errors and its silence may', load, serve, lambda o, line: (
        o.problem.startswith('cut short') or o.status in (500, 504)))
    kinds = {}
    for o in load.failed():
        kinds[o.status] = kinds.get(o.status, 0) + 1
    need('all of it happened', kinds.get(200, 0) > 5 and kinds.get(500, 0) > 5, kinds)
    logged = {}
    for line in serve.lines():
        logged[line['status']] = logged.get(line['status'], 0) + 1
    same('lines with 500', logged.get(500, 0), kinds[500])
    same('lines in all', sum(logged.values()), len(outcomes))
    settled(world, outcomes)


# ---- attempts --------------------------------------------------------------------------------------------------------

def attempt(llmd, test):
    world = World(llmd)
    try:
        test(world)
        world.end_well()
        tap.point(test.__name__.replace('_', ' '))
    except (Wrong, AssertionError, OSError, ValueError, EOFError, KeyError, http.client.HTTPException) as error:
        tap.point(test.__name__.replace('_', ' '), (str(error) or repr(error)).splitlines() + world.told())
    finally:
        world.close()


def main(llmd):
    wanted = os.environ.get('CHAOS_ONLY', '')
    for test in (engines_die, reloads, processes_die, a_dead_workers_counts, pages_lie, answers_break_off,
                 first_bytes_do_not_come, time_runs_out, faults_under_load):
        if wanted in test.__name__:
            attempt(tap.program(os.path.abspath(llmd)), test)
    tap.done()


if __name__ == '__main__':
    main(sys.argv[1])
