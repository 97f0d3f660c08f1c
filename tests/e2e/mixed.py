#!/usr/bin/env python3
"""A little of everything for builds with sanitizers: mixed.py LLMD. Prints TAP.

Engines with KV events and renderers, `llmd serve` with two workers, and clients that stream, ask, leave and send
rubbish, while a worker, the agent and an engine are killed and the file changes. In the end all are told to stop, and
nobody may have anything to report: no race, no leak, no exit code. Some seconds; LLMD_LONG=1: a minute.

Under ThreadSanitizer there are no events: libzmq, which is not built with it, hands its sockets to its own threads by
ways that it cannot see, and every one of them would be a race. Nothing is suppressed.
"""
import glob
import http.client
import os
import random
import signal
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.dont_write_bytecode = True
sys.path.insert(0, HERE)
sys.path.insert(0, os.path.join(HERE, '..', 'lint'))
import malformed  # noqa: E402
import tap  # noqa: E402
from load import Load  # noqa: E402
from world import Raw, World, Wrong, ask, chat, need, same, until  # noqa: E402

SECONDS = 60 if os.environ.get('LLMD_LONG') == '1' else 8
SANITIZERS = ('ASAN_OPTIONS', 'UBSAN_OPTIONS', 'TSAN_OPTIONS', 'LSAN_OPTIONS')

CONFIG = '''
endpoints: [%s]
events: {enabled: %s, retry: 200ms, discover: 500ms}
metrics: {models: 500ms}
limits: {body: 1MiB, head_time: 2s, idle: 5s}
log: {buffer: %d, explain: 100}
policy:
  apiVersion: llm-d.ai/v1alpha1
  kind: EndpointPickerConfig
  plugins:
  - {type: token-producer, parameters: {modelName: llmd-filler, vllm: {}}}
  - type: precise-prefix-cache-producer
    parameters: {tokenProcessorConfig: {blockSizeTokens: 16}, speculativeIndexing: true, speculativeTTL: 2s}
  - {type: prefix-cache-scorer, parameters: {prefixMatchInfoProducerName: precise-prefix-cache-producer}}
  - type: queue-scorer
  - type: max-score-picker
  schedulingProfiles:
  - name: default
    plugins:
    - {pluginRef: prefix-cache-scorer, weight: %d}
    - {pluginRef: queue-scorer, weight: 2}
    - {pluginRef: max-score-picker}
'''


class Rude(threading.Thread):
    """Leaves in the middle, sends rubbish, looks at pages."""

    def __init__(self, serve):
        super().__init__(daemon=True)
        self.serve, self.stopping, self.turns, self.pick, self.crash = serve, False, 0, random.Random(3), None

    def run(self):
        try:
            while not self.stopping:
                try:
                    self.turn(self.pick.randrange(6))
                except (OSError, EOFError, http.client.HTTPException):
                    pass  # of somebody who was killed
                self.turns += 1
        except Exception as error:  # pylint: disable=broad-except
            self.crash = error

    def turn(self, kind):
        if kind < 2:
            with Raw(self.serve.port) as c:
                c.post(chat('Tell me more. ' * 50, stream=True, max_tokens=2000))
                c.take(b'data: ')
                if kind:
                    c.take(b'data: ')
        elif kind == 2:
            with Raw(self.serve.port) as c:
                c.send(self.pick.choice(malformed.WAYS)[2])
        elif kind == 3:
            ask(self.serve.admin(), 'GET', self.pick.choice(('/metrics', '/endpoints', '/explain', '/readyz',
                                                             '/nothing')))
        elif kind == 4:
            with Raw(self.serve.port) as c:
                c.post(chat('x' * 300_000)).answer()
        else:
            ask(self.serve.port, 'GET', '/v1/models')


def reports(world):
    out = []
    for path in glob.glob(world.path('report.*')):
        with open(path, encoding='utf-8', errors='replace') as f:
            out += f.read().splitlines()[:60]
    return out


def config(world, buffer, weight):
    where, events = ', '.join(e.address for e in world.engines), 'true' if world.events else 'false'
    return world.write('serve.yaml', CONFIG % (where, events, buffer, weight))


def has_events(llmd):
    with open(llmd, 'rb') as f:
        return b'__tsan_' not in f.read()


def happen(world, serve):
    """Everything once, spread over the time; what was killed is there again in the end."""
    def killed(name):
        old = serve.pid(name)
        os.kill(old, signal.SIGKILL)
        until(f'another {name}', lambda: serve.pid(name) != old)

    def reloaded():
        n = serve.text().count('serve: reloaded')
        config(world, n % 2, 2 + n % 3)
        serve.tell(signal.SIGHUP)
        until('reloaded', lambda: serve.text().count('serve: reloaded') > n)

    def engine_killed():
        world.engines[0].kill()
        time.sleep(0.3)
        world.engines[0].start()
    steps = [reloaded, lambda: killed('worker 0'), reloaded, engine_killed, lambda: killed('agent'), reloaded]
    steps *= max(1, SECONDS // 10)
    for step in steps:
        time.sleep(SECONDS / len(steps))
        step()


def mixed(world):
    for variable in SANITIZERS:
        os.environ[variable] = f'{os.environ.get(variable, "")}:log_path={world.path("report")}'
    world.start_engines(2, '--speed', '20', *(['--kv-events'] if world.events else []))
    serve = world.start_serve('--workers', '2', file=config(world, 0, 2))
    rude = Rude(serve)
    with Load(serve.port, users=6, rate=60) as load:
        rude.start()
        happen(world, serve)
        outcomes = load.stop()
    rude.stopping = True
    rude.join(60)
    need('rude clients end', not rude.is_alive() and not rude.crash, rude.crash)
    same('reports', reports(world), [])
    odd = [o for o in load.failed() if not o.problem.startswith(('cut short', 'no answer', 'status 50'))]
    same('what clients saw', odd, [])
    need('most of it went well', len(load.failed()) < len(outcomes) / 4, (len(load.failed()), len(outcomes)))
    same('exit codes of children', [line for line in serve.text().splitlines() if 'ended with' in line], [])
    serve.wait_fresh(2)
    seconds = serve.idle_within(30)
    messages = serve.figure('llmd_agent_event_messages_total')
    need('events came', messages > 0 or not world.events)
    serve.tell(signal.SIGTERM)
    same('exit code of serve', serve.wait(), 0)
    for engine in world.engines:
        engine.program.tell(signal.SIGTERM)
        same('exit code of an engine', engine.program.wait(), 0)
    same('reports', reports(world), [])
    tap.note(f'{len(outcomes)} requests, {len(load.failed())} failed as they may, {rude.turns} rude ones, '
             f'{messages:.0f} messages of events; counts back at zero after {seconds:.1f} s')


def main(llmd):
    world = World(tap.program(os.path.abspath(llmd)))
    world.events = has_events(llmd)
    try:
        mixed(world)
        tap.point('a mixed load')
    except (Wrong, AssertionError, OSError, ValueError, EOFError, http.client.HTTPException) as error:
        tap.point('a mixed load', (str(error)[:6000] or repr(error)).splitlines() + reports(world) + world.told())
    finally:
        world.close()
    tap.done()


main(sys.argv[1])
