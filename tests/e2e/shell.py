#!/usr/bin/env python3
"""The llmd program as a person meets it: every command, right and wrong; and examples/hello.

    shell.py LLMD HELLO SOURCE_ROOT BUILD_ROOT [simulate]

With `simulate` only what takes longer: the ladder's known outcomes. Prints TAP.
"""
import json
import os
import pty
import shutil
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, '..', 'lint'))
import tap  # noqa: E402

DATA = os.path.join(HERE, 'data')
RIGHT, REFUSED, USAGE = 0, 1, 2
COMMANDS = ['check', 'decide', 'body', 'events', 'hash', 'index', 'metrics', 'replay', 'plugins', 'policy',
            'region', 'simulate']


class Wrong(Exception):
    pass


class Answer:
    """What one run said."""

    def __init__(self, args, run):
        self.args, self.code = args, run.returncode
        self.out, self.err = run.stdout.decode('utf-8'), run.stderr.decode('utf-8')

    def __str__(self):
        return f'llmd {" ".join(self.args)}\nexit code {self.code}\n--- stdout\n{self.out}\n--- stderr\n{self.err}'

    def is_(self, code, err=None, out=None, silent=False):
        """Exit code, and what must stand in the streams; silent: nothing on standard error."""
        if self.code != code:
            raise Wrong(f'exit code {code} expected\n{self}')
        for text in [err] if isinstance(err, str) else err or []:
            if text not in self.err:
                raise Wrong(f'stderr lacks {text!r}\n{self}')
        for text in [out] if isinstance(out, str) else out or []:
            if text not in self.out:
                raise Wrong(f'stdout lacks {text!r}\n{self}')
        if silent and self.err:
            raise Wrong(f'stderr is not empty\n{self}')
        if code == USAGE and (self.out or '--help' not in self.err):
            raise Wrong(f'wrong usage: stdout stays empty, stderr names --help\n{self}')
        return self

    def json(self):
        try:
            return json.loads(self.out)
        except ValueError as error:
            raise Wrong(f'not JSON: {error}\n{self}') from None


def data(*path):
    return os.path.join(DATA, *path)


def same(what, got, expected):
    if got != expected:
        raise Wrong(f'{what}: got {got!r}, expected {expected!r}')


def near(what, got, expected, by=1e-9):
    if abs(got - expected) > by:
        raise Wrong(f'{what}: got {got!r}, expected {expected!r}')


def attempt(name, check, *args, skip=None):
    if skip:
        tap.point(name, skip=skip)
        return
    try:
        check(*args)
        tap.point(name)
    except Wrong as wrong:
        tap.point(name, str(wrong).splitlines()[:60])


class Shell:
    def __init__(self, program):
        self.program = program

    def __call__(self, *args, stdin=b''):
        run = subprocess.run([self.program, *args], input=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                             check=False, timeout=300)
        return Answer(args, run)


# ---- the program as a whole ----------------------------------------------------------------------------------------

def outer(llmd):
    llmd('--help').is_(RIGHT, out=['Usage: llmd'] + COMMANDS, silent=True)
    llmd('-h').is_(RIGHT, out='Usage: llmd')
    llmd('help').is_(RIGHT, out='Usage: llmd')
    llmd('help', 'check').is_(RIGHT, out='Usage: llmd check')
    llmd('--version').is_(RIGHT, out=['llmd 0.', 'libllmd 0.'], silent=True)
    llmd('chekc').is_(USAGE, err="no command 'chekc'")
    llmd('help', 'chekc').is_(USAGE, err="no command 'chekc'")
    answer = llmd()
    same('exit code without a command', answer.code, USAGE)
    same('stdout without a command', answer.out, '')


def helps(llmd):
    for command in COMMANDS:
        answer = llmd(command, '--help').is_(RIGHT, out=[f'Usage: llmd {command}', 'Example', '--json'], silent=True)
        same('llmd ' + command + ' -h', llmd(command, '-h').out, answer.out)
        wide = [line for line in answer.out.splitlines() if len(line) > 100]
        same('lines wider than 100', wide, [])


def options(llmd):
    for command in COMMANDS:
        llmd(command, '--no-such-option').is_(USAGE, err=["llmd " + command, "unknown option '--no-such-option'"])
        llmd(command, '-Z').is_(USAGE, err="unknown option '-Z'")
        llmd(command, '--json=yes').is_(USAGE, err="'--json=yes' takes no value")
    for command, option in (('check', '--modules'), ('decide', '--pool'), ('decide', '-H'), ('body', '--path'),
                            ('metrics', '--engine'), ('replay', '--config'), ('simulate', '--policy')):
        llmd(command, option).is_(USAGE, err=f"'{option}' needs a value")
    for command in ('check', 'decide', 'body', 'events', 'hash', 'metrics', 'replay'):
        llmd(command).is_(USAGE)
    for command in ('check', 'body', 'events', 'hash', 'metrics', 'replay', 'plugins'):
        llmd(command, 'a', 'b').is_(USAGE)


def files(llmd):
    for command in ('check', 'body', 'events', 'hash', 'metrics', 'replay'):
        llmd(command, data('nothing')).is_(REFUSED, err=data('nothing') + ': No such file')
        llmd(command, DATA).is_(REFUSED, err=DATA + ': cannot be read')
    with open('/dev/full', 'wb') as full:
        run = subprocess.run([llmd.program, 'plugins'], stdout=full, stderr=subprocess.PIPE, check=False)
    same('exit code when the output cannot be written', run.returncode, REFUSED)


# ---- check ---------------------------------------------------------------------------------------------------------

def check_right(llmd):
    answer = llmd('check', data('policy.yaml')).is_(RIGHT, out=['kind: EndpointPickerConfig', 'added by default'],
                                                      silent=True)
    again = llmd('check', '-', stdin=answer.out.encode()).is_(RIGHT, silent=True)
    plain = [line.split(' #')[0] for line in answer.out.splitlines()]
    same('the effective configuration, read again', [line.split(' #')[0] for line in again.out.splitlines()], plain)
    llmd('check', data('policy.json')).is_(RIGHT, out='queue-scorer', silent=True)
    default = llmd('check', '-').is_(RIGHT, out=['prefix-cache-scorer', 'weight: 3'], silent=True)
    if 'random-picker' in default.out:
        raise Wrong(f'not the default policy\n{default}')
    inert = llmd('check', data('inert.yaml')).is_(RIGHT, out='metrics-data-source # inert')
    if 'queue-scorer # inert' in inert.out:
        raise Wrong(f'a scorer is not inert\n{inert}')


def check_warns(llmd):
    llmd('check', data('old.yaml')).is_(RIGHT, err=data('old.yaml') + ': warning: line 1')
    said = llmd('check', '--json', data('old.yaml')).is_(RIGHT).json()
    same('warnings', len(said['warnings']), 1)
    llmd('check', data('alpha.yaml')).is_(RIGHT)
    llmd('check', '--refuse-alpha', data('alpha.yaml')).is_(REFUSED, err=':4:9: plugins[0].type:')


def check_wrong(llmd):
    for name, place in (('typo.yaml', ':5:9: plugins[1].type: plugin type "kv-cache-utilisation-scorer"'),
                        ('field.yaml', ':9:5: schedulingProfiles[0].plugins[0].wait:'), ('syntax.yaml', ':4:1: '),
                        ('pool.yaml', ':1:1: endpoints: ')):
        answer = llmd('check', data(name)).is_(REFUSED, err=data(name) + place)
        same('stdout of a refused file', answer.out, '')
    llmd('check', '-', stdin=b'\xff\xfe').is_(REFUSED, err='-')
    llmd('check', '--modules', data('nothing'), data('policy.yaml')).is_(REFUSED, err='nothing')


def check_json(llmd):
    said = llmd('check', '--json', data('policy.yaml')).is_(RIGHT, silent=True).json()
    same('valid', said['valid'], True)
    same('effective', said['effective'], llmd('check', data('policy.yaml')).out)
    said = llmd('check', '--json', data('field.yaml')).is_(REFUSED, err=':9:5:').json()
    same('valid', said['valid'], False)
    same('error', {k: said['error'][k] for k in ('code', 'line', 'column', 'path')},
         {'code': 'LLMD_E_UNKNOWN_FIELD', 'line': 9, 'column': 5, 'path': 'schedulingProfiles[0].plugins[0].wait'})


# ---- decide, replay ------------------------------------------------------------------------------------------------

def decide_right(llmd):
    args = ['decide', '--config', data('policy.yaml'), '--pool', data('pool.yaml'), '--metrics', data('pages')]
    llmd(*args, data('chat.json')).is_(RIGHT, out=['routed to default/two at 10.0.0.2:8000', 'dropped default/helper',
                                                   'queue-scorer'], silent=True)
    said = llmd(*args, '--json', '--seed', '7', data('chat.json')).is_(RIGHT, silent=True).json()
    same('status', said['decision']['status'], 'routed')
    same('seed', said['decision']['seed'], '7')
    same('picked', said['profiles'][0]['picked'], ['default/two'])
    near('margin', said['profiles'][0]['margin'], 1)
    llmd('decide', '--pool', data('pool.yaml'), data('chat.json')).is_(RIGHT, out='routed to', silent=True)
    llmd(*args, '--path', '/v1/completions', data('ids.json')).is_(RIGHT, silent=True)


def decide_in_turn(llmd):
    """The second body sees what the first left behind."""
    args = ['decide', '--config', data('policy.yaml'), '--pool', data('pool.yaml'), '--json']
    answer = llmd(*args, data('chat.json'), data('chat.json')).is_(RIGHT, silent=True)
    first, second = [json.loads(line) for line in answer.out.splitlines() if line]
    where = first['profiles'][0]['picked'][0]
    scores = [s for s in second['profiles'][0]['scorers'] if s['name'] == 'prefix-cache-scorer'][0]['scores']
    same('picked again', second['profiles'][0]['picked'], [where])
    same('cached part', scores[where] > 0.5, True)
    same('cached elsewhere', [v for k, v in scores.items() if k != where], [0])
    text = llmd('decide', '--pool', data('pool.yaml'), data('chat.json'), data('chat.json')).is_(RIGHT)
    same('a title for each body', text.out.count('== ' + data('chat.json')), 2)


def decide_headers(llmd):
    args = ['decide', '--config', data('alpha.yaml'), '--pool', data('pool.yaml'), data('chat.json')]
    llmd(*args, '--headers', data('headers.txt'), '-H', 'x-tier: gold').is_(RIGHT)
    llmd(*args, '--headers', data('headers-bad.txt')).is_(REFUSED, err=data('headers-bad.txt') + ':2: ')
    llmd(*args, '-H', 'no colon').is_(USAGE, err="'no colon'")


def decide_wrong(llmd):
    args = ['decide', '--config', data('policy.yaml')]
    llmd(*args, data('chat.json')).is_(USAGE, err='--pool')
    llmd(*args, '--pool', data('pool.yaml')).is_(USAGE, err='body')
    llmd(*args, '--pool', data('pool.yaml'), '--seed', '-1', data('chat.json')).is_(USAGE, err='--seed')
    llmd(*args, '--pool', data('pool-bad.yaml'), data('chat.json')).is_(
        REFUSED, err='pool-bad.yaml:4:9: endpoints[0].port')
    llmd(*args, '--pool', data('policy.yaml'), data('chat.json')).is_(REFUSED, err='policy.yaml:1:1:')
    llmd('decide', '--config', data('typo.yaml'), '--pool', data('pool.yaml'), data('chat.json')).is_(
        REFUSED, err='typo.yaml:5:9:')
    llmd(*args, '--pool', data('pool.yaml'), '--metrics', HERE, data('chat.json')).is_(
        REFUSED, err='named after an endpoint')
    llmd(*args, '--pool', data('pool.yaml'), data('broken.json')).is_(
        REFUSED, err=data('broken.json') + ':2:48: malformed', out='bad-request')
    llmd(*args, '--pool', data('pool.yaml'), data('nothing')).is_(REFUSED, err='nothing: No such file')
    llmd(*args, '--pool', data('prefill.yaml'), data('chat.json')).is_(REFUSED, out=['rejected', '429'])
    llmd(*args, '--pool', data('prefill.yaml'), '--fail-open', data('chat.json')).is_(
        RIGHT, out='routed to default/helper')
    empty = llmd('decide', '--pool', '-', data('chat.json'), stdin=b'endpoints: []').is_(REFUSED, out='503')
    same('stderr', empty.err, '')


def replay(llmd):
    with tempfile.TemporaryDirectory() as folder:
        records = os.path.join(folder, 'records')
        config = ['--config', data('policy.yaml')]
        llmd('decide', *config, '--pool', data('pool.yaml'), '--metrics', data('pages'), '--record', records,
             data('chat.json'), data('chat.json')).is_(RIGHT)
        llmd('replay', *config, records).is_(RIGHT, out=['same', '10.0.0.2:8000', '2 same, 0 differ'], silent=True)
        llmd('replay', *config, '--explain', records).is_(RIGHT, out='queue-scorer')
        said = llmd('replay', *config, '--json', records).is_(RIGHT, silent=True).json()
        same('counts', (said['records'], said['same'], said['differ']), (2, 2, 0))
        same('destinations', {r['destination'] for r in said['results']}, {'10.0.0.2:8000'})
        llmd('replay', records).is_(REFUSED, err='record 1 (byte 0): decided by another configuration')
        llmd('replay', *config, data('chat.json')).is_(REFUSED, err='record 1 (byte 0): malformed')
        llmd('replay', *config, '/dev/null').is_(REFUSED, err='no record')
        with open(records, 'rb') as f:
            whole = f.read()
        answer = llmd('replay', *config, '-', stdin=whole[:-20]).is_(
            REFUSED, err='record 2 (byte ', out='1 same, 0 differ')
        same('records before the cut', answer.out.count('same  '), 1)
        llmd('decide', *config, '--pool', data('pool.yaml'), '--record', os.path.join(folder, 'no', 'where'),
             data('chat.json')).is_(REFUSED, err='cannot be written')


# ---- body, metrics, plugins ----------------------------------------------------------------------------------------

def body_right(llmd):
    said = llmd('body', '--text', '--headers', data('headers.txt'), data('chat.json')).is_(RIGHT, silent=True).json()
    same('dialect', (said['dialect'], said['model'], said['flags']), ('openai-chat', 'm', ['final', 'stream']))
    same('an integer beyond 2^53', said['max_tokens'], 9007199254740993)
    same('headers', (said['session'], said['fairness_id'], said['request_id']), ('abc', 'tenant 7', 'r1'))
    same('kinds', [s['kind'] for s in said['segments']], ['role', 'text', 'role', 'text'])
    same('text', said['segments'][3]['text'], 'A "quoted" word, and the sign \u00e9?')
    with open(data('chat.json'), 'rb') as f:
        whole = f.read()
    segment, edit = said['segments'][2], said['edits'][0]
    same('offset', whole[segment['offset']:segment['offset'] + segment['bytes']], b'user')
    edited = whole[:edit['offset']] + edit['text'].encode() + whole[edit['offset'] + edit['removed']:]
    same('after the edits', 'kv_transfer_params' in json.loads(edited), False)
    said = llmd('body', '--path', '/v1/completions', data('ids.json')).is_(RIGHT).json()
    same('prompts', (said['dialect'], said['prompts'], said['token_ids']), ('openai-completions', 2, 5))
    said = llmd('body', '--path', '/v1/models', '-', stdin=b'anything').is_(RIGHT).json()
    same('dialect', said['dialect'], 'passthrough')


def body_wrong(llmd):
    said = llmd('body', data('broken.json')).is_(REFUSED, err=data('broken.json') + ':2:48: malformed input').json()
    same('error', {k: said['error'][k] for k in ('code', 'offset', 'line', 'column')},
         {'code': 'LLMD_E_SYNTAX', 'offset': 62, 'line': 2, 'column': 48})
    said = llmd('body', '-', stdin=b'{"model": "\xc3\x28"}').is_(REFUSED, err='-:1:').json()
    same('code', said['error']['code'], 'LLMD_E_UTF8')
    said = llmd('body', '-', stdin=b'[' * 100).is_(REFUSED).json()
    with open(data('chat.json'), 'rb') as f:
        cut = f.read()[:-30]
    llmd('body', '-', stdin=cut).is_(REFUSED, err='ends too early')
    said = llmd('body', '--truncated', '--text', '-', stdin=cut).is_(RIGHT).json()
    same('flags', 'truncated' in said['flags'], True)
    said = llmd('body', '--truncated', '--text', '-', stdin=b'{"model":"m","tools":[{"a":1},{"b"').is_(RIGHT).json()
    same('tools that break off', said['segments'][0]['text'], '[{"a":1},{"b"')
    said = llmd('body', '-H', b'x-session-id: \xff"'.decode('utf-8', 'surrogateescape'), '-', stdin=b'{}').json()
    same('a header that is not UTF-8', said['session'], '\ufffd"')


def metrics(llmd):
    said = llmd('metrics', data('pages', 'one.prom')).is_(RIGHT, silent=True).json()
    same('columns', said['columns'],
         {'WaitingQueueSize': 7, 'RunningRequestsSize': 40, 'KVCacheUsagePercent': 0.75, 'MaxActiveModels': None,
          'CacheBlockSize': 16, 'CacheNumBlocks': 19208, 'ActiveModels': [], 'WaitingModels': []})
    said = llmd('metrics', '--engine', 'sglang', data('pages', 'sglang')).is_(RIGHT, silent=True).json()
    same('sglang', said['columns']['RunningRequestsSize'], 11)
    llmd('metrics', data('pages', 'sglang')).is_(REFUSED, err='no metric of vllm')
    said = llmd('metrics', data('pages', 'unbelievable')).is_(REFUSED, err='no metric').json()
    same('values', [v for v in said['columns'].values() if v], [])
    llmd('metrics', '-', stdin=b'\0\xff{{{').is_(REFUSED, err='no metric')


# [1.5, [["BlockStored", [7, -1], nil, [1, 70000], 1], ["BlockRemoved", 5], {"type": "Rebooted"}], nil]
PAYLOAD = bytes.fromhex('93cb3ff800000000000093' + '95ab426c6f636b53746f7265649207ffc09201ce0001117001' +
                        '92ac426c6f636b52656d6f76656405' + '81a474797065a85265626f6f746564' + 'c0')


def events(llmd):
    said = llmd('events', '--json', '-', stdin=PAYLOAD).is_(
        REFUSED, err='-:1: bad event at byte 50: wrong type of value').json()
    same('counts', (said['n_messages'], said['refused'], said['events']),
         (1, 0, {'stored': 1, 'removed': 0, 'cleared': 0, 'unknown': 1, 'bad': 1}))
    stored, bad, unknown = said['messages'][0]['events']
    same('head', (said['messages'][0]['ts'], said['messages'][0]['rank']), (1.5, None))
    same('stored', (stored['offset'], stored['names'], stored['tokens'], stored['block_size'], stored['tier']),
         (11, [7, 2 ** 64 - 1], [1, 70000], 1, 'gpu'))
    same('bad', bad, {'kind': 'bad', 'type': 'BlockRemoved', 'code': 'LLMD_E_TYPE', 'text': 'wrong type of value',
                      'offset': 50})
    same('unknown', (unknown['kind'], unknown['type']), ('unknown', 'Rebooted'))
    said = llmd('events', '--json', '-', stdin=PAYLOAD[:30]).is_(REFUSED, err='ends too early').json()
    same('error', said['messages'][0]['error'],
         {'code': 'LLMD_E_TRUNCATED', 'text': 'input ends too early', 'offset': 25})
    llmd('events', '-', stdin=PAYLOAD).is_(REFUSED, err='byte 50',
                                           out=['messages            1', 'bad                 1'])


def captures(llmd):
    cleared = '93cb3ff8000000000000' + '9191b0416c6c426c6f636b73436c6561726564' + '00'
    lines = [json.dumps({'frames': frames}) for frames in (
        ['746f', '0000000000000005', cleared], ['', '746f', '0000000000000007', cleared], ['', '', 'ff' * 8, ''])]
    capture = '\n'.join(['{"note": "passed over"}', *lines, cleared, '']).encode()
    said = llmd('events', '--json', '-', stdin=capture).is_(RIGHT, silent=True).json()
    same('sequence numbers', [m.get('seq') for m in said['messages']], [5, 7, None, None])
    same('lines', [m['line'] for m in said['messages']], [2, 3, 4, 5])
    same('the end of a replay', [m.get('end', False) for m in said['messages']], [False, False, True, False])
    same('topics', [m.get('topic') for m in said['messages']], ['to', 'to', None, None])
    llmd('events', '-', stdin=capture).is_(RIGHT, silent=True, out=['5 to 7, 1 gaps', 'cleared             3'])
    for wrong in ('{"frames": ["746f"]}', '{"frames": ["7"]}', '{"frames": 5}', '{"frames": ', 'zz', cleared[:-1]):
        said = llmd('events', '--json', '-', stdin=wrong.encode()).is_(REFUSED, err='-:1: no batch of events').json()
        same('code', said['messages'][0]['error']['code'], 'LLMD_E_SYNTAX')
    for wrong, offset in (('zz', 0), ('93zz', 2), (cleared[:-1], len(cleared) - 1), ('{"frames" 5}', 10)):
        said = llmd('events', '--json', '-', stdin=wrong.encode()).is_(REFUSED, err=f'(byte {offset})').json()
        same('offset', said['messages'][0]['error']['offset'], offset)
    for empty in (b'', b'\n\n', b'{"note": 1}\n'):
        llmd('events', '-', stdin=empty).is_(REFUSED, err='no message in it')


def plugins(llmd):
    text = llmd('plugins').is_(RIGHT, out=['queue-scorer', 'disagg-profile-handler', 'inert'], silent=True)
    listed = llmd('plugins', '--json').is_(RIGHT, silent=True).json()
    same('types listed', [p['type'] for p in listed], [line.split()[0] for line in text.out.splitlines()[1:]])
    for plugin in listed:
        one = llmd('plugins', plugin['type']).is_(RIGHT, out=[plugin['type'], plugin['summary']], silent=True)
        for parameter in plugin['parameters']:
            if f'  {parameter["name"]}: ' not in one.out:
                raise Wrong(f'{parameter["name"]} is not told\n{one}')
    same('one as JSON', llmd('plugins', '--json', 'queue-scorer').is_(RIGHT).json()['type'], 'queue-scorer')
    llmd('plugins', 'prefix-cache-scorer').is_(RIGHT, out=['matchLengthScaleTokens: int, default 8192', 'Reads:'])
    llmd('plugins', 'no-such').is_(REFUSED, err="'no-such'")
    llmd('plugins', '--json', 'no-such').is_(REFUSED, err="'no-such'")


# ---- simulate ------------------------------------------------------------------------------------------------------

SMALL = ['simulate', '--rates', '15:4w,10:5,20:6', '--engines', '4']


def without_time(runs):
    """Runs without what the machine's clock put in."""
    for run in runs['runs']:
        for entry in [run['summary']] + run['stages']:
            del entry['simulation']['decision_us']
    return runs


def simulate_small(llmd):
    answer = llmd(*SMALL).is_(RIGHT, silent=True, out=['Simulated: 4 engines', 'random', 'round-robin*', 'default',
                                                       '* the simulator', 'At 20 requests a second', 'libllmd'])
    if '\r' in answer.out + answer.err:
        raise Wrong('a progress bar where there is no terminal')
    said = llmd(*SMALL, '--json').is_(RIGHT, silent=True).json()
    same('simulated', (said['simulated'], said['index'], len(said['runs'])), (True, 'approx', 3))
    for run in said['runs']:
        same('simulated', run['simulated'], True)
        same('requests', [s['load_summary']['count'] for s in run['stages']], [60, 50, 120])
        same('failures', run['summary']['failures']['count'], 0)
        same('tokens', run['summary']['successes']['output_tokens']['total'], 170000)
    again = llmd(*SMALL, '--json').is_(RIGHT).json()
    same('the same seed gives the same run', without_time(again), without_time(said))
    other = llmd(*SMALL, '--json', '--seed', '2').is_(RIGHT).json()
    same('another seed gives another', without_time(other) == said, False)


def simulate_policies(llmd):
    args = ['--json', '--index', 'exact', '--policy', 'random', '--policy', data('blend.yaml')]
    said = llmd(*SMALL, *args).is_(RIGHT).json()
    same('names', [r['router'] for r in said['runs']], ['random', 'blend'])
    hits = [r['summary']['simulation']['hit_rate'] for r in said['runs']]
    same('a prefix scorer finds more', hits[1] > hits[0] + 0.2, True)
    llmd(*SMALL, '--policy', data('typo.yaml')).is_(REFUSED, err=data('typo.yaml') + ':5:9:')
    llmd(*SMALL, '--policy', 'nothing.yaml').is_(REFUSED, err='nothing.yaml: No such file')
    llmd(*SMALL, '--policy', data('blend.yaml'), '--seeds', '2').is_(RIGHT, out=['2 seeds', 'worst'])
    said = llmd(*SMALL, '--policy', 'default', '--seeds', '2', '--json').is_(RIGHT).json()
    same('seeds', [r['config']['seed'] for r in said['runs']], [1, 2])
    said = llmd(*SMALL, '--policy', 'default', '--json', '--requests').is_(RIGHT).json()
    same('requests', len(said['runs'][0]['requests']), 230)


def simulate_trace(llmd):
    args = ['simulate', '--workload', 'mooncake:' + data('trace.jsonl'), '--policy', 'default']
    llmd(*args).is_(RIGHT, out=['Mooncake', 'Over the whole trace'], silent=True)
    said = llmd(*args, '--limit', '3', '--speed', '2', '--json').is_(RIGHT).json()
    same('requests', said['runs'][0]['summary']['load_summary']['count'], 3)
    said = llmd(*args, '--coefficients', data('coefficients.json') + ':quick', '--json').is_(RIGHT).json()
    same('coefficients', said['runs'][0]['config']['engine_model'], 'quick')
    llmd('simulate', '--workload', 'mooncake:' + data('trace-bad.jsonl')).is_(
        REFUSED, err=data('trace-bad.jsonl') + ':2: ')
    llmd('simulate', '--workload', 'mooncake:' + data('nothing')).is_(REFUSED, err='No such file')
    llmd(*args, '--coefficients', data('coefficients.json') + ':none').is_(REFUSED, err='no set "none"')
    llmd(*args, '--coefficients', data('nothing')).is_(REFUSED, err='No such file')


def simulate_events(llmd):
    precise = os.path.join(HERE, '..', '..', 'examples', 'llmd', 'precise.yaml')
    llmd(*SMALL, '--policy', 'default', '--policy', precise).is_(
        RIGHT, out=['engines told', 'the index was asked', ' 0 not known, 0 wrong'], silent=True)
    said = llmd(*SMALL, '--policy', precise, '--json', '--event-loss', '0.1', '--restart', '4', '--cpu-tokens',
                '400000').is_(RIGHT).json()
    heard = said['runs'][0]['kv_events']
    same('messages are lost, engines restart', min(heard['lost'], heard['gaps'], heard['restarts']) > 0, True)
    same('in the end the index is right', (heard['settled_wrong'], heard['settled_known'], heard['index_blocks']),
         (0, heard['settled_held'], heard['engine_blocks']))
    said = llmd('simulate', '--workload', 'tiered', '--cpu-tokens', '1312000', '--policy', 'random', '--engines', '2',
                '--rates', '2:4', '--json').is_(RIGHT).json()
    same('tiered', [said['runs'][0]['config'][k] for k in ('kv_tokens', 'cpu_tokens')], [298000, 1312000])
    same('who does not listen', 'kv_events' in said['runs'][0], False)


def simulate_wrong(llmd):
    for args, word in ((['--rates', '10'], '--rates'), (['--rates', '10:5,x'], 'character 6'),
                       (['--rates', '0:5'], '--rates'), (['--engines', '0'], '--engines'),
                       (['--engines', 'many'], "'many'"), (['--seeds', '0'], '--seeds'),
                       (['--metrics-ms', '-1'], '--metrics-ms'), (['--metrics-ms', '0', '--lag-ms', '5'], '--lag-ms'),
                       (['--index', 'guess'], "'guess'"), (['--workload', 'chat'], "'chat'"),
                       (['--limit', '3'], '--limit'), (['--quick', '--rates', '3:5'], '--rates'),
                       (['--requests'], '--json'), (['policy.yaml'], '--policy'),
                       (['--event-loss', '2'], '--event-loss'), (['--restart', '0'], '--restart'),
                       (['--workload', 'tiered', '--quick'], '--quick'),
                       (['--workload', 'mooncake:x', '--quick'], '--quick')):
        llmd('simulate', *args).is_(USAGE, err=word)


def simulate_bar(llmd):
    """A progress bar is drawn when standard error is a terminal."""
    master, slave = pty.openpty()
    run = subprocess.Popen([llmd.program, *SMALL, '--policy', 'default'], stdout=subprocess.PIPE, stderr=slave)
    os.close(slave)
    out = run.stdout.read().decode()
    drawn = b''
    while True:
        try:
            piece = os.read(master, 65536)
        except OSError:
            break
        if not piece:
            break
        drawn += piece
    run.stdout.close()
    os.close(master)
    same('exit code', run.wait(), 0)
    same('a bar', b'[####' in drawn and b'%' in drawn, True)
    same('no bar among the results', '[####' in out, False)


def simulate_known(llmd):
    """What llm-d published of its ladder: where each policy breaks down."""
    args = ['simulate', '--quick', '--index', 'exact', '--json', '--policy', 'random', '--policy', data('blend.yaml'),
            '--policy', data('flat.yaml')]
    said = llmd(*args).is_(RIGHT, silent=True).json()
    ttft = {r['router']: {s['load_summary']['requested_rate']: s['successes']['latency']['time_to_first_token']['mean']
                          for s in r['stages'] if not s['warmup']} for r in said['runs']}
    same('random: rates with a mean TTFT above 5 s', [r for r, t in ttft['random'].items() if t > 5], [20, 30, 40, 60])
    same('3:2:2: never', [r for r, t in ttft['blend'].items() if t > 5], [])
    same('1:1:1: from 40', [r for r, t in ttft['flat'].items() if t > 5], [40, 60])
    speed = {r['router']: r['stages'][-1]['successes']['throughput']['output_tokens_per_sec'] for r in said['runs']}
    near('random at 60 req/s, published 6,551 tok/s', speed['random'], 6551, 6551 * 0.15)
    near('3:2:2 at 60 req/s, published 17,064 tok/s', speed['blend'], 17064, 17064 * 0.15)


def simulate_default(llmd):
    said = llmd('simulate', '--quick', '--json', '--policy', 'random', '--policy', 'default').is_(RIGHT).json()
    random, default = [r['stages'][-1]['successes'] for r in said['runs']]
    speed = [s['throughput']['output_tokens_per_sec'] for s in (random, default)]
    same('more tokens', speed[1] > 2 * speed[0], True)
    same('sooner', default['latency']['time_to_first_token']['mean'] < 1, True)


# ---- the other examples --------------------------------------------------------------------------------------------

def hello_runs(hello, source):
    inputs = [os.path.join(source, 'examples', 'hello', name) for name in ('policy.yaml', 'pool.yaml', 'chat.json')]
    Answer(inputs, run_program(hello, *inputs)).is_(
        RIGHT, out=['routed to default/beta', 'dropped default/gamma', 'queue-scorer', 'margin'], silent=True)
    Answer([], run_program(hello, inputs[1], inputs[1], inputs[2])).is_(REFUSED, err='line 2: endpoints')
    Answer([], run_program(hello, inputs[0], 'nothing', inputs[2])).is_(REFUSED, err='nothing')
    same('exit code without files', run_program(hello).returncode, USAGE)
    with open(os.path.join(source, 'examples', 'hello', 'hello.c'), encoding='utf-8') as f:
        main = f.read().split('\nint main(')[1].split('\n{\n')[1].split('\n}\n')[0]
    same('lines of main that do something', len([line for line in main.splitlines() if line.strip()]) <= 32, True)


def run_program(*command):
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False, timeout=60)


def plugin_runs(llmd, source, build):
    """examples/plugin, built out of the tree, in a configuration, in a decision, in a simulation."""
    with tempfile.TemporaryDirectory() as folder:
        copy = os.path.join(folder, 'plugin')
        shutil.copytree(os.path.join(source, 'examples', 'plugin'), copy)
        env = dict(os.environ, PKG_CONFIG_PATH=os.path.join(build, 'meson-uninstalled'))
        made = subprocess.run(['make', '-C', copy], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
                              env=env)
        if made.returncode:
            raise Wrong(made.stdout.decode())
        modules, policy = os.path.join(copy, 'modules'), os.path.join(copy, 'policy.yaml')
        llmd('check', policy).is_(REFUSED, err='free-blocks-scorer')
        llmd('check', '--modules', modules, policy).is_(RIGHT, out='free-blocks-scorer', silent=True)
        said = llmd('decide', '--modules', modules, '--config', policy, '--pool', data('pool.yaml'), '--metrics',
                    data('pages'), '--json', data('chat.json')).is_(RIGHT, silent=True).json()
        near('score of the only engine that tells its blocks', said['targets'][0]['score'], 2)
        same('where', said['targets'][0]['endpoint'], 'default/one')
        llmd(*SMALL, '--modules', modules, '--policy', policy).is_(RIGHT, out='policy', silent=True)
        os.chmod(modules, 0o777)
        llmd('check', '--modules', modules, policy).is_(REFUSED, err='writable by others')


# ---- hash ----------------------------------------------------------------------------------------------------------

TO_48 = ' '.join(map(str, range(1, 49))).encode()


def hash_right(llmd):
    """Known names; the forms of input; a chain that goes on from its second digest."""
    args = ['hash', '--scheme', 'sha256_cbor', '--seed', '0']
    names = [3236607068019569386, 2758186210834249151, 5191110061519319221]
    llmd(*args, '-', stdin=TO_48).is_(RIGHT, out=['vllm-sha256-cbor', '3 blocks of 48 tokens', '4e1195df020de59e',
                                                  *map(str, names)], silent=True)
    for text in (TO_48, b'[' + b', '.join(TO_48.split()) + b']', b'\n'.join(TO_48.split()) + b'\n'):
        said = llmd(*args, '--json', '-', stdin=text).is_(RIGHT, silent=True).json()
        same('names', [b['name'] for b in said['blocks']], names)
    rest = b' '.join(TO_48.split()[32:])
    more = llmd(*args, '--json', '--parent', said['blocks'][1]['digest'], '-', stdin=rest).is_(RIGHT).json()
    same('the chain that goes on', more['blocks'], said['blocks'][2:])
    said = llmd('hash', '--scheme', 'sglang', '--block', '16', '--json', '-', stdin=TO_48).is_(RIGHT).json()
    same('a page', said['blocks'][0]['name'], 8635429971592222890)
    same('no root', said['root'], None)
    said = llmd('hash', '--scheme', 'dynamo', '--media', '3735928559@0+16', '--json', '-', stdin=TO_48).is_(RIGHT).json()
    same('local', said['blocks'][0]['local'], 14529151895984176542)


def hash_separates(llmd):
    """Every part changes the native keys; media only from their block on; what a scheme has no place for is refused."""
    def native(*args):
        said = llmd('hash', '--scheme', 'native', '--json', *args, '-', stdin=TO_48).is_(RIGHT, silent=True).json()
        return [b['digest'] for b in said['blocks']]
    plain = native()
    seen = {plain[0]}
    for part in ('--model', '--lora', '--salt', '--tenant'):
        seen.add(native(part, 'x')[0])
    same('different first keys', len(seen), 5)
    media = native('--media', 'cat@20+4')
    same('blocks that the image changes', [a != b for a, b in zip(media, plain)], [False, True, True])
    with tempfile.NamedTemporaryFile() as secret:
        secret.write(bytes(range(192)))
        secret.flush()
        if native('--secret', secret.name)[0] in seen:
            raise Wrong('the secret changes nothing')
        secret.write(b'x')
        secret.flush()
        llmd('hash', '--scheme', 'native', '--secret', secret.name, '-', stdin=TO_48).is_(REFUSED)


def hash_wrong(llmd):
    llmd('hash', '--scheme', 'xxhash', '-', stdin=TO_48).is_(REFUSED, err='without --seed')
    llmd('hash', '--extras', 'bare', '-', stdin=TO_48).is_(REFUSED, err='without --seed')
    llmd('hash', '--scheme', 'sglang', '--salt', 'x', '-', stdin=TO_48).is_(REFUSED, err='sglang')
    llmd('hash', '--parent', 'abcd', '-', stdin=TO_48).is_(REFUSED, err='2 bytes')
    llmd('hash', '--media', 'b@9+1', '--media', 'a@8+1', '-', stdin=TO_48).is_(REFUSED, err='order')
    for text, place in ((b'1 2 x', '1:5'), (b'[1, 2', '1:6'), (b'1,,2', '1:3'), (b'1 4294967296', '1:3'), (b'[1,]', '1:4'),
                        (b'1 2]', '1:4'), (b'1\n-2', '2:1'), (b'1.5', '1:2'), (b'1 \x00 2', '1:3')):
        answer = llmd('hash', '-', stdin=text).is_(REFUSED, err=f'-:{place}: a token id is expected')
        same('stdout of a refused list', answer.out, '')
    for args in (['--scheme', 'md5'], ['--block', '0'], ['--block', '8193'], ['--extras', 'old'], ['--parent', 'xy'],
                 ['--media', 'cat'], ['--media', 'cat@1'], ['--media', 'cat@1+x'], ['--embeds', 'ab@0+16']):
        llmd('hash', *args, '-', stdin=TO_48).is_(USAGE, err=args[0])


def region_file(build, folder):
    path = os.path.join(folder, 'region')
    subprocess.run([os.path.join(build, 'tests', 'e2e', 'region_file'), path], check=True)
    return path


def region_right(llmd, build):
    with tempfile.TemporaryDirectory() as folder:
        path = region_file(build, folder)
        size = os.path.getsize(path)
        said = llmd('region', 'stat', path).is_(RIGHT, out=['endpoints ', '5 of 8 (62.5 %)', '/prefix', 'tickets',
                                                     'exact index', 'prefix/exact'],
                                                silent=True)
        for part in ('head', 'string table', 'staging', 'rings', 'state'):
            if f'\n{part} ' not in said.out:
                raise Wrong(f'part {part} is missing\n{said}')
        seen = llmd('region', 'stat', '--json', path).is_(RIGHT, silent=True).json()
        same('bytes', (seen['bytes'], sum(p['bytes'] for p in seen['parts'])), (size, size))
        same('endpoints', (seen['endpoints'], seen['endpoints_cap'], seen['tickets']), (5, 8, 1))
        same('lanes', [(s['lane'], s['owner']) for s in seen['lane_slots']], [(0, 21)])
        same('state', [s['kind'] for s in seen['state']], ['prefix', 'index'])
        same('index', (seen['index']['blocks'], seen['index']['held'], seen['index']['rows']), (3, 3, 1))
        llmd('region', 'check', path).is_(RIGHT, out='sound', silent=True)
        same('faults', llmd('region', 'check', '--json', path).is_(RIGHT, silent=True).json(), {'faults': []})


def region_damaged(llmd, build):
    with tempfile.TemporaryDirectory() as folder:
        path = region_file(build, folder)
        parts = {p['name']: p for p in llmd('region', 'stat', '--json', path).json()['parts']}
        with open(path, 'r+b') as f:
            f.seek(parts['tickets']['offset'])
            f.write(b'\xee' * 8)
        at = parts['tickets']['offset']
        llmd('region', 'check', path).is_(REFUSED, out=f'{path}: byte {at}: tickets: state', silent=True)
        fault = llmd('region', 'check', '--json', path).is_(REFUSED).json()['faults'][0]
        same('place', (fault['offset'], fault['part']), (at, 'tickets'))
        with open(path, 'r+b') as f:
            f.seek(parts['string table']['offset'])
            f.write(b'\xff' * parts['string table']['bytes'])
        llmd('region', 'check', path).is_(REFUSED, out='--all')
        lines = llmd('region', 'check', '--all', path).is_(REFUSED).out.count('\n')
        if lines < 100:
            raise Wrong(f'{lines} faults')
        with open(path, 'r+b') as f:
            f.write(b'\0')
        llmd('region', 'check', path).is_(REFUSED, out='head: not a region')
        llmd('region', 'stat', path).is_(REFUSED, err='not a region')


def region_wrong(llmd, build):
    llmd('region', 'check', data('no-such-file')).is_(REFUSED, err='no-such-file')
    llmd('region', 'stat', HERE).is_(REFUSED, err='not a file')
    llmd('region', 'stat', '-').is_(REFUSED, err='not standard input')
    for args in ([], ['stat'], ['mend', 'x'], ['stat', 'a', 'b'], ['check', '--everything', 'x']):
        llmd('region', *args).is_(USAGE)


# ---- index ---------------------------------------------------------------------------------------------------------

def index_file(build, folder, kind):
    path = os.path.join(folder, kind)
    subprocess.run([os.path.join(build, 'tests', 'e2e', 'index_file'), kind, path], check=True)
    return path


HITS = [{'slot': 1, 'generation': 7, 'blocks': 3, 'gpu': 2, 'cpu': 1, 'disk': 0, 'remote': 0},
        {'slot': 2, 'generation': 7, 'blocks': 1, 'gpu': 1, 'cpu': 0, 'disk': 0, 'remote': 0}]
TO_80 = ' '.join(str(i) for i in range(1, 81)).encode()


def index_right(llmd, build):
    with tempfile.TemporaryDirectory() as folder:
        for kind in ('index', 'region'):
            path = index_file(build, folder, kind)
            copy = os.path.join(folder, 'snapshot')
            llmd('index', 'snapshot', '-o', copy, path).is_(RIGHT, out='', silent=True)
            same('mode', os.stat(copy).st_mode & 0o777, 0o600)
            for file in (path, copy):
                said = llmd('index', 'stats', '--json', file).is_(RIGHT, silent=True).json()
                same('stats', {k: said[k] for k in ('endpoints', 'blocks', 'held', 'names', 'block_sizes')},
                     {'endpoints': 2, 'blocks': 3, 'held': 4, 'names': 3, 'block_sizes': [16]})
                llmd('index', 'stats', file).is_(RIGHT, out=['blocks ', 'block_size '], silent=True)
                said = llmd('index', 'query', '--json', file, '-', stdin=TO_80).is_(RIGHT, silent=True).json()
                same('asked', (said['blocks'], said['block_size'], said['shared']), (5, 16, 0))
                for hit, expected in zip(said['hits'], HITS):
                    same('hit', dict(hit, generation=7), expected)
                same('hits', len(said['hits']), 2)
                for args in (['--salt', 'x'], ['--lora', 'x'], ['--model', 'x'], ['--block', '8']):
                    said = llmd('index', 'query', '--json', *args, file, '-', stdin=TO_80).is_(RIGHT).json()
                    same('hits with ' + args[0], said['hits'], [])


def index_keys(llmd, build):
    with tempfile.TemporaryDirectory() as folder:
        path = index_file(build, folder, 'index')
        out = llmd('index', 'query', '--keys', '0' * 32 + ',' + 'Ff' * 16, path).is_(RIGHT, silent=True).out
        same('nobody', out, '2 blocks; a shared store has 0 of them, 0 endpoints have some\n')
        for keys in ('', '0' * 31, '0' * 33, '0' * 32 + ',', 'g' * 32):
            llmd('index', 'query', '--keys', keys, path).is_(USAGE, err='32 hex digits')


def index_wrong(llmd, build):
    with tempfile.TemporaryDirectory() as folder:
        path, copy = index_file(build, folder, 'index'), os.path.join(folder, 'snapshot')
        llmd('index', 'stats', index_file(build, folder, 'empty')).is_(REFUSED, err='without an exact index')
        said = llmd('region', 'stat', '--json', os.path.join(folder, 'empty')).is_(RIGHT, silent=True).json()
        same('none is 0', (said['endpoints'], said['lanes'], said['labels_each_cap'], 'labels_each' in said), (0, 0, 16, False))
        llmd('index', 'stats', data('nothing')).is_(REFUSED, err='No such file')
        llmd('index', 'stats', HERE).is_(REFUSED, err='not a file')
        llmd('index', 'stats', data('policy.yaml')).is_(REFUSED, err='policy.yaml')
        llmd('index', 'query', path, '-', stdin=b'1 2 x').is_(REFUSED, err='-:1:5: a token id is expected')
        llmd('index', 'snapshot', '-o', os.path.join(folder, 'no', 'way'), path).is_(REFUSED, err='No such file')
        llmd('index', 'snapshot', '-o', HERE, path).is_(REFUSED, err='not a file')
        llmd('index', 'snapshot', '-o', '/dev/null', path).is_(REFUSED, err='not a file')
        llmd('index', 'snapshot', '-o', copy, path).is_(RIGHT)
        llmd('index', 'snapshot', '-o', copy, copy).is_(RIGHT)
        llmd('index', 'stats', copy).is_(RIGHT, silent=True)
        same('files', sorted(os.listdir(folder)), ['empty', 'index', 'snapshot'])
        llmd('index', 'stats', '-').is_(REFUSED, err='not standard input')
        with open(path, 'rb') as f, open(os.path.join(folder, 'cut'), 'wb') as cut:
            cut.write(f.read(100000))
        llmd('index', 'stats', cut.name).is_(REFUSED, err='damaged or cut prefix index')
        with open(copy, 'r+b') as f:
            f.seek(os.path.getsize(copy) // 2)
            byte = f.read(1)
            f.seek(-1, os.SEEK_CUR)
            f.write(bytes([byte[0] ^ 1]))
        llmd('index', 'stats', copy).is_(REFUSED, err=copy)
        for args in ([], ['stats'], ['query', 'x'], ['mend', 'x'], ['snapshot', 'x'], ['stats', '-o', 'y', 'x'],
                     ['stats', 'a', 'b'], ['query', '--block', '0', 'a', 'b'], ['query', '--keys', 'a', 'b', 'c']):
            llmd('index', *args).is_(USAGE)


def precise(llmd, source):
    """What the host's part of a configuration is, is said; the example is right."""
    said = llmd('check', data('precise.yaml')).is_(RIGHT, err='blockSize is deprecated',
                                                   out=['# kvEventsConfig: inert', '# kvBlockIndexConfig: inert',
                                                        'blockSizeTokens: 64', 'approx-prefix-cache-producer # added'])
    llmd('check', '-', stdin=said.out.encode()).is_(RIGHT, silent=True)
    llmd('check', os.path.join(source, 'examples', 'llmd', 'precise.yaml')).is_(RIGHT, silent=True)


def main(program, hello, source, build, what=''):
    llmd = Shell(program)
    if what == 'simulate':
        attempt('simulate: random breaks down at 20 req/s, 3:2:2 never, 1:1:1 at 40', simulate_known, llmd)
        attempt('simulate: the default policy with the approximate index beats random', simulate_default, llmd)
        tap.done()
    for name, check in (
            ('help, version, unknown commands', outer), ('--help of every command', helps),
            ('unknown options', options), ('files that cannot be read or written', files),
            ('check: right', check_right), ('check: warnings', check_warns), ('check: wrong', check_wrong),
            ('check --json', check_json), ('decide: right', decide_right), ('decide: bodies in turn', decide_in_turn),
            ('decide: headers', decide_headers), ('decide: wrong', decide_wrong), ('replay', replay),
            ('body: right', body_right), ('body: wrong', body_wrong), ('hash: right', hash_right),
            ('hash: what separates', hash_separates), ('hash: wrong', hash_wrong), ('metrics', metrics),
            ('events', events), ('events: captures', captures), ('plugins', plugins),
            ('simulate: a small ladder', simulate_small), ('simulate: policies', simulate_policies),
            ('simulate: a trace', simulate_trace), ('simulate: events', simulate_events),
            ('simulate: wrong', simulate_wrong),
            ('simulate: progress on a terminal', simulate_bar)):
        attempt(name, check, llmd)
    for name, check in (('region', region_right), ('region: damage', region_damaged), ('region: misuse', region_wrong)):
        attempt(name, check, llmd, build)
    for name, check in (('index', index_right), ('index: keys', index_keys), ('index: wrong', index_wrong)):
        attempt(name, check, llmd, build)
    attempt('check: precise prefixes', precise, llmd, source)
    attempt('hello', hello_runs, hello, source)
    absent = [tool for tool in ('make', 'pkg-config') if not shutil.which(tool)]
    attempt('plugin: built apart, used by the shell', plugin_runs, llmd, source, build,
            skip='needs ' + ', '.join(absent) if absent else None)
    tap.done()


if __name__ == '__main__':
    main(*sys.argv[1:])
