#!/usr/bin/env python3
"""`llmd serve` with policies in Lua that change while requests flow: policies.py LLMD. Prints TAP.

A policy here sends everything to one zone of engines, so that the log of requests says whose text decided. Skips all
when the engine of Lua policies is not built.
"""
import http.client
import json
import os
import re
import signal
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.dont_write_bytecode = True
sys.path.insert(0, HERE)
sys.path.insert(0, os.path.join(HERE, '..', 'lint'))
import tap  # noqa: E402
from chaos import all_well, kill, only, settled  # noqa: E402
from load import Load  # noqa: E402
from world import PATIENCE, Raw, World, Wrong, ask, chat, need, same, until  # noqa: E402

SECONDS = 30 if os.environ.get('LLMD_LONG') == '1' else 4

TEXT = '''-- Everything goes to zone {zone}. {remark}
return {{
  name = "zones", reads = {{ zone = "label:zone" }},
  score = function(req, cols, out)
    for i = 1, cols.n do out[i] = cols.zone[i] == "{zone}" and 1 or 0 end
  end,
  examples = {{ {{ endpoints = {{ {{ zone = "a" }}, {{ zone = "b" }} }}, scores = {scores} }} }},
}}
'''

# More than a decision may cost, though not ten times as much.
EAGER = '''return { score = function(req, cols, out)
  local sum = 0; for i = 1, 100000 do sum = sum + i end
  out[1] = sum
end }
'''

NOBODY = 'return { filter = function(p) return false end }\n'

GREEDY = 'return { score = function(waiting) return 1 end, examples = {' + '{endpoints={{}},scores={1}},' * 990 + '} }\n'

PROFILE = '''
apiVersion: llm-d.ai/v1alpha1
kind: EndpointPickerConfig
plugins:
- {type: lua, name: zones, parameters: {file: policies/zones.lua}}
- {type: queue-scorer}
- {type: max-score-picker}
schedulingProfiles:
- name: default
  plugins:
  - {pluginRef: zones, weight: 10}
  - {pluginRef: queue-scorer, weight: 1}
  - {pluginRef: max-score-picker}
'''


def text(zone, remark='', scores=None):
    return TEXT.format(zone=zone, remark=remark, scores=scores or ('{1, 0}' if zone == 'a' else '{0, 1}'))


def begin(world, *options, policy='zones.lua', speed='8'):
    """Two engines in two zones, and two workers in front of them."""
    world.start_engines(2, '--speed', speed)
    pool = world.write('pool.yaml', 'endpoints:\n' + ''.join(
        f'- {{name: {zone}, address: 127.0.0.1, port: {engine.port}, labels: {{zone: {zone}}}}}\n'
        for zone, engine in zip('ab', world.engines)))
    return world.start_serve('--workers', '2', '--endpoints', pool, *options, file=policy and world.path(policy))


def policy_of(serve):
    found = json.loads(serve.page('/policies'))['policies']
    same('policies', len(found), 1)
    return found[0]


def hash_of(words):
    """FNV-1a."""
    h = 0xcbf29ce484222325
    for byte in words.encode():
        h = (h ^ byte) * 0x100000001b3 % (1 << 64)
    return f'{h:016x}'


def agree(serve, words):
    """Until the region has this text and all workers decide by it; its number."""
    def look():
        now = policy_of(serve)
        at_one = now['hash'] == hash_of(words) and serve.figure('llmd_proxy_policies_outdated') == 0
        return at_one and serve.figure('llmd_proxy_workers') == 2 and now['number']
    return until('all decide by the same text', look)


def zones(world, n=8):
    """Where requests go now, each on a connection of its own."""
    before = len(world.serve.lines())
    for _ in range(n):
        with Raw(world.serve.port) as c:
            same('an answer', c.post(chat(max_tokens=1)).answer().status, 200)
    until('they are logged', lambda: len(world.serve.lines()) >= before + n)
    names = {f'127.0.0.1:{engine.port}': zone for zone, engine in zip('ab', world.engines)}
    return {names[line['endpoint']] for line in world.serve.lines()[before:]}


def go_to(world, zone):
    until(f'all go to {zone}', lambda: zones(world) == {zone})


def records(serve):
    """The decisions that workers have recorded, and the type that they come with."""
    status, head, body = ask(serve.admin(), 'GET', '/records')
    same('/records', (status, head.get('content-type')), (200, 'application/octet-stream'))
    return body


def replayed(world, policy):
    """What llmd policy replay says of real traffic."""
    with open(world.path('traffic.rec'), 'wb') as f:
        f.write(records(world.serve))
    p = subprocess.run(world.llmd + ['policy', 'replay', '--json', world.path(policy), f.name], stdout=subprocess.PIPE,
                       stderr=subprocess.PIPE, timeout=PATIENCE, check=False)
    same('exit code', p.returncode, 0)
    return json.loads(p.stdout.decode())


# ---- what people do --------------------------------------------------------------------------------------------------

def in_one_line(world):
    """llmd serve --endpoints ... zones.lua; the file is edited, well and badly."""
    path = world.write('zones.lua', text('a'))
    serve = begin(world)
    go_to(world, 'a')
    same('number', policy_of(serve)['number'], 1)
    world.write('zones.lua', text('b'))
    go_to(world, 'b')
    same('number', agree(serve, text('b')), 2)
    time.sleep(1.2)  # so that each worker may have left a record
    same('where they go', zones(world), {'b'})
    for wrong, said in (
            ('return {\n  score = = 1,\n}\n', ':2: .*unexpected symbol'),
            (text('a', scores='{1, 1}'), ':.*scores'),
            ('return { score = function(req, cols, out)\n  local nothing = nil\n  out[1] = nothing.at end }\n',
             ': fails on a recorded request: .*:3: '),
            ('', ': a policy ends with'),
            (GREEDY, ': [0-9]+ bytes of memory are not enough'),
            (EAGER, ': fails on a recorded request: .*:2: more than [0-9]+ instructions')):
        world.write('zones.lua', wrong)
        serve.find(rf'^policy: error: {re.escape(path)}{said}.*; the former text stays$')
        need('it is on the page', policy_of(serve).get('refused'))
    same('number', policy_of(serve)['number'], 2)
    same('where they go', zones(world), {'b'})
    same('refused', serve.figure('llmd_policy_reloads_total', 'refused'), 6)
    world.write('zones.lua', text('a', 'again'))
    same('number', agree(serve, text('a', 'again')), 3)
    go_to(world, 'a')
    same('taken', serve.figure('llmd_policy_reloads_total', 'ok'), 2)
    settled(world)


def tried_on_traffic(world):
    """/records: what a text would have changed, before its file is touched. One that would refuse all is not taken."""
    path = world.write('zones.lua', text('a'))
    world.write('other.lua', text('b'))
    serve = begin(world)

    def enough():
        go_to(world, 'a')
        return records(serve) and replayed(world, 'zones.lua')['records'] >= 8
    until('workers have recorded', enough)
    said = replayed(world, 'zones.lua')
    same('by the text that runs', (said['same'], said['missing']['records']), (said['records'], 0))
    said = replayed(world, 'other.lua')
    need('by another one', said['changed'] > said['records'] / 2, said)
    world.write('zones.lua', NOBODY)
    serve.find(rf'^policy: error: {re.escape(path)}: refuses all of [0-9]+ recorded requests that were served; '
               'the former text stays$')
    same('where they go', zones(world), {'a'})
    settled(world)


def beside_c_plugins(world):
    """A policy that a configuration names, relative to its own folder; the service's file is in another one."""
    os.makedirs(world.path('conf/policies'))
    world.write('conf/policies/zones.lua', text('b'))
    world.write('conf/policy.yaml', PROFILE)
    world.write('service.yaml', 'policy: conf/policy.yaml\n')
    serve = begin(world, policy='service.yaml')
    go_to(world, 'b')
    same('file', policy_of(serve)['file'], 'policies/zones.lua')
    world.write('conf/policies/zones.lua', text('a'))
    go_to(world, 'a')
    world.write('conf/policies/zones.lua', 'return nothing.at.all\n')
    serve.find(r'^policy: error: \S+/conf/policies/zones\.lua:1: ')
    serve.tell(signal.SIGHUP)
    serve.find(r'conf/policies/zones\.lua:1: ')
    serve.find('^serve: error: not reloaded')
    same('where they go', zones(world), {'a'})
    world.write('conf/policies/zones.lua', text('b', 'after all'))
    go_to(world, 'b')
    serve.tell(signal.SIGHUP)
    serve.find('^serve: reloaded')
    agree(serve, text('b', 'after all'))
    same('where they go', zones(world), {'b'})
    settled(world)


def cannot_start(world):
    """With a policy that is not right there is nothing to keep: it ends, and says where."""
    for wrong, place in (('return {\n  score = = 1 }\n', r'zones\.lua:2: '), (text('a', scores='{1, 1}'), r'scores'),
                         ('return { name = "idle" }\n', r'zones\.lua')):
        path = world.write('zones.lua', wrong)
        for option in (['--check'], []):
            p = subprocess.run(world.llmd + ['serve', *option, '--listen', '127.0.0.1:0', '--admin', '127.0.0.1:0',
                                             '--endpoints', '127.0.0.1:9', path], stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, timeout=PATIENCE, check=False)
            same('exit code', p.returncode, 1)
            need('the place', re.search(place, p.stderr.decode()), p.stderr.decode())


# ---- while everything moves ------------------------------------------------------------------------------------------

def swaps(world):
    """Ten changes a second under load, every fourth of them broken. No request notices."""
    os.mkdir(world.path('live'))  # where nothing else changes: the agent waits for a folder to come to rest
    world.write('live/zones.lua', text('a'))
    serve = begin(world, policy='live/zones.lua')
    with Load(serve.port) as load:
        for i in range(SECONDS * 10):
            turn = time.monotonic() + 0.1
            world.write('live/zones.lua', 'return {\n' if i % 4 == 3 else text('ab'[i % 2], f'The {i}th.'))
            time.sleep(max(0, turn - time.monotonic()))
        world.write('live/zones.lua', text('b', 'The last.'))
        agree(serve, text('b', 'The last.'))
        go_to(world, 'b')
        outcomes = load.stop()
    all_well(load, serve)
    taken, swapped = (serve.figure(name, 'ok') for name in ('llmd_policy_reloads_total', 'llmd_proxy_policy_swaps_total'))
    need('texts were taken', taken >= SECONDS, (taken, swapped))
    same('refused by workers', serve.figure('llmd_proxy_policy_swaps_total', 'refused'), 0)
    need('no decision went without', 'plugin' not in {w for line in serve.lines() for w in line.get('ladder', [])})
    tap.note(f'{taken:.0f} texts taken, {swapped:.0f} swaps of two workers, {len(outcomes)} requests')
    settled(world, outcomes)


def deaths(world):
    """Workers and the agent are killed meanwhile; who comes anew decides by the same text, whatever is in the file."""
    world.write('zones.lua', text('a'))
    serve = begin(world)
    deaths_of = []
    with Load(serve.port) as load:
        for i, name in enumerate(('worker 0', 'agent', 'worker 1', 'agent', 'worker 0')):
            world.write('zones.lua', text('ab'[i % 2], f'The {i}th.'))
            time.sleep(0.1 * i)
            before = time.time()
            clients = kill(serve, name)
            deaths_of.append((clients, before, time.time()))
            until('two workers', lambda: serve.figure('llmd_proxy_workers') == 2)
        world.write('zones.lua', text('b', 'The last right one.'))
        number = agree(serve, text('b', 'The last right one.'))
        world.write('zones.lua', 'return {\n')
        serve.find(r'^policy: error: \S+/zones\.lua:\d+: ')
        for name in ('agent', 'worker 1', 'worker 0'):
            before = time.time()
            clients = kill(serve, name)
            deaths_of.append((clients, before, time.time()))
        same('number', agree(serve, text('b', 'The last right one.')), number)
        same('where they go', zones(world), {'b'})
        outcomes = load.stop()
    only('what is in flight at a process that dies may', load, serve, lambda o, line: (
        o.problem.startswith(('cut short', 'no answer')) and any(
            o.port in clients and o.begin <= after and o.end >= before for clients, before, after in deaths_of)))
    world.write('zones.lua', text('a', 'And on.'))
    agree(serve, text('a', 'And on.'))
    go_to(world, 'a')
    settled(world, outcomes)


def attempt(name, llmd, test):
    world = World(llmd)
    try:
        test(world)
        if world.serve:
            world.end_well()
        tap.point(name)
    except (Wrong, AssertionError, OSError, ValueError, http.client.HTTPException) as error:
        tap.point(name, [str(error) or repr(error)] + world.told())
    finally:
        world.close()


TESTS = (
    ('a policy in one line, edited well and badly', in_one_line),
    ('a policy tried on real traffic', tried_on_traffic),
    ('a policy beside C plugins', beside_c_plugins),
    ('what is not right does not start', cannot_start),
    ('ten changes a second under load', swaps),
    ('processes die meanwhile', deaths),
)


def main(llmd):
    built = os.path.exists(os.path.join(os.path.dirname(os.path.abspath(llmd)), '..', '..', 'plugins', 'llmd-lua.so'))
    for name, test in TESTS:
        if built:
            attempt(name, tap.program(os.path.abspath(llmd)), test)
        else:
            tap.point(name, skip='needs llmd-lua.so')
    tap.done()


if __name__ == '__main__':
    main(*sys.argv[1:])
