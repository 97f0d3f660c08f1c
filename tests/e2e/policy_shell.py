#!/usr/bin/env python3
"""llmd policy, and FILE.lua wherever a configuration is named: every tool, right and wrong.

    policy_shell.py LLMD SOURCE_ROOT BUILD_ROOT

Policies need llmd-lua.so; without it only what does without is tried. Prints TAP.
"""
import json
import os
import pty
import select
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
from shell import DATA, REFUSED, RIGHT, USAGE, Shell, Wrong, attempt, data, near, same, tap  # noqa: E402

TOOLS = ['check', 'replay', 'explain', 'repl']
SMALL = ['simulate', '--rates', '15:4w,10:5,20:6', '--engines', '4']
POOL = ['--pool', data('pool.yaml'), '--metrics', data('pages')]

QUEUE = '''-- the shortest queue
return {
  name = "queue", summary = "the shortest queue",
  params = {
    weight = {default = 2, min = 0, max = 10, doc = "of the queue"},
    mode = {default = "fast", values = {"fast", "slow"}},
  },
  reads = {"waiting", zone = "label:zone", "header:x-canary"},
  score = function(req, cols, out, p)
    for i = 1, cols.n do out[i] = 1 / (1 + p.weight * cols.waiting[i]) end
  end,
  examples = {
    {name = "the shorter one", endpoints = {{waiting = 0}, {waiting = 2}}, scores = {1, 0.2}},
    {name = "the operator weighs", params = {weight = 1}, endpoints = {{waiting = 1}}, scores = {0.5}},
  },
}
'''
# the opposite; what is missing in the records is read, too
LONGEST = '''return {
  summary = "the longest queue",
  reads = {"waiting", "attr:Nobody/sets-this"},
  score = function(req, cols, out)
    for i = 1, cols.n do out[i] = cols.waiting[i] / (1 + cols.waiting[i]) end
  end,
}
'''
FAILS = '''return {
  summary = "fails",
  score = function(waiting)
    return waiting + nothing
  end,
}
'''
WRONG_EXAMPLE = QUEUE.replace('scores = {1, 0.2}', 'scores = {1, 0.3}')
SYNTAX = 'return {\n  score = function(waiting) return waiting +* 1 end,\n}\n'
TYPO = 'return {\n  reads = {"wating"},\n  score = function(cols, out) end,\n}\n'
LOOP = 'return {score = function(cols, out) while true do end end}\n'
KEEPS = '''return {
  summary = "counts what it sent", store = 100,
  score = function(req, cols, out)
    local n = llmd.store.get("sent") or 0
    for i = 1, cols.n do out[i] = n / 10 end
  end,
  commit = function(req) llmd.store.put("sent", (llmd.store.get("sent") or 0) + 1) end,
}
'''
CONFIG = '''apiVersion: llm-d.ai/v1alpha1
kind: EndpointPickerConfig
plugins:
- type: lua
  name: mine
  parameters: {file: queue.lua, params: {weight: 4}}
- type: lua
  name: other
  parameters: {file: longest.lua}
- type: queue-scorer
schedulingProfiles:
- name: default
  plugins:
  - pluginRef: mine
    weight: 3
  - pluginRef: other
  - pluginRef: queue-scorer
'''


class Folder:
    """Files of a test, readable as the loader wants them."""

    def __init__(self, path, files):
        self.path = path
        for name, text in files.items():
            self.write(name, text)

    def write(self, name, text):
        with open(self(name), 'w', encoding='utf-8') as f:
            f.write(text)
        os.chmod(self(name), 0o644)

    def __call__(self, name):
        return os.path.join(self.path, name)


def folder_of(path):
    return Folder(path, {
        'queue.lua': QUEUE, 'longest.lua': LONGEST, 'fails.lua': FAILS, 'example.lua': WRONG_EXAMPLE,
        'syntax.lua': SYNTAX, 'typo.lua': TYPO, 'loop.lua': LOOP, 'keeps.lua': KEEPS, 'config.yaml': CONFIG})


def records_of(llmd, folder):
    """Three decisions by data/flat.yaml, and thirty of a simulation."""
    bodies = [data('chat.json')] * 3
    llmd('decide', '--config', data('flat.yaml'), *POOL, '--record', folder('flat.rec'), *bodies).is_(RIGHT)
    llmd(*SMALL, '--policy', 'default', '--record', folder('sim.rec'), '--records', '30').is_(RIGHT)


# ---- what needs no Lua ---------------------------------------------------------------------------------------------

def usage(llmd):
    for tool in TOOLS:
        answer = llmd('policy', tool, '--help').is_(RIGHT, out=[f'Usage: llmd policy {tool}', 'Example'], silent=True)
        same(tool + ' -h', llmd('policy', tool, '-h').out, answer.out)
        same('lines wider than 100', [line for line in answer.out.splitlines() if len(line) > 100], [])
        llmd('policy', tool, '--no-such-option').is_(USAGE, err=[f'llmd policy {tool}', "unknown option"])
        llmd('policy', tool, '--loaders').is_(USAGE, err="'--loaders' needs a value")
    for args, word in (([], 'check, replay'), (['chekc'], "no tool 'chekc'"), (['--json', 'check'], 'comes first'),
                       (['check'], 'which policy'), (['replay'], 'which policy'), (['replay', 'a'], 'which records'),
                       (['replay', '--list', 'x', 'a', 'b'], '--list'), (['explain', 'a'], 'which record'),
                       (['explain', '--index', '0', 'a', 'b'], '--index'), (['explain', 'a', 'b', 'c'], 'one file'),
                       (['repl', 'a', 'b'], 'one FILE')):
        llmd('policy', *args).is_(USAGE, err=word)


def record(llmd, folder):
    """A simulation's records are evenly spread, and replay."""
    llmd('replay', folder('sim.rec')).is_(RIGHT, out='30 same, 0 differ', silent=True)
    everything = folder('all.rec')
    llmd(*SMALL, '--policy', 'default', '--record', everything).is_(RIGHT)
    llmd('replay', everything).is_(RIGHT, out='230 same, 0 differ')
    for args, word in ((['--record', 'x'], '--record'), (['--records', '5', '--policy', 'default'], '--records'),
                       (['--record', 'x', '--policy', 'default', '--seeds', '2'], '--record'),
                       (['--record', 'x', '--policy', 'round-robin'], '--record'),
                       (['--record', 'x', '--policy', 'default', '--records', '0'], '--records')):
        llmd('simulate', *args).is_(USAGE, err=word)
    llmd(*SMALL, '--policy', 'default', '--record', folder('no/where')).is_(REFUSED, err='cannot be written')


def replay_yaml(llmd, folder):
    """By the configuration that made them nothing changes; by one with a filter of roles nobody is left."""
    said = llmd('policy', 'replay', '--json', data('flat.yaml'), folder('flat.rec')).is_(RIGHT, silent=True).json()
    same('counts', [said[k] for k in ('records', 'same', 'changed', 'refused', 'routed', 'failed')], [3, 3, 0, 0, 0, 0])
    same('load', [(e['then'], e['now'], e['moved']) for e in said['endpoints']],
         [(e['then'], e['then'], 0) for e in said['endpoints']])
    said = llmd('policy', 'replay', '--json', '--list', '2', data('policy.yaml'), folder('sim.rec')).is_(RIGHT).json()
    same('refused', (said['records'], said['refused'], said['missing']['records'] > 0), (30, 30, True))
    same('moved away', sum(e['moved'] for e in said['endpoints']), -30)
    same('listed', [(c['record'], c['outcome'], c['then']['status'], c['now']) for c in said['changes']],
         [(1, 'refused', 'routed', {'status': 'rejected'}), (2, 'refused', 'routed', {'status': 'rejected'})])
    text = llmd('policy', 'replay', '--list', '1', data('policy.yaml'), folder('sim.rec'), folder('sim.rec')).is_(
        RIGHT, out=['60 records, decided again by', 'refused now', 'load moved: 60 of 60', 'lack columns'], silent=True)
    same('listed', text.out.count(' -> '), 1)


def replay_wrong(llmd, folder):
    flat = data('flat.yaml')
    llmd('policy', 'replay', flat, data('chat.json')).is_(REFUSED, err='record 1 (byte 0): malformed')
    llmd('policy', 'replay', flat, '/dev/null').is_(REFUSED, err='no record')
    llmd('policy', 'replay', flat, folder('nothing')).is_(REFUSED, err='No such file')
    llmd('policy', 'replay', data('typo.yaml'), folder('flat.rec')).is_(REFUSED, err='typo.yaml:5:9:')
    with open(folder('flat.rec'), 'rb') as f:
        whole = f.read()
    llmd('policy', 'replay', flat, '-', stdin=whole[:-20]).is_(REFUSED, err='record 3 (byte ', out='2 records')
    said = llmd('policy', 'replay', '--json', flat, folder('nothing'), folder('flat.rec')).is_(REFUSED).json()
    same('the files that can be read are', said['records'], 3)
    llmd('policy', 'explain', '--index', '4', flat, folder('flat.rec')).is_(REFUSED, err='it has 3 records')
    llmd('policy', 'explain', flat, '/dev/null').is_(REFUSED, err='it has 0 records')


def explain_yaml(llmd, folder):
    llmd('policy', 'explain', data('flat.yaml'), folder('flat.rec')).is_(
        RIGHT, out=['record 1 of ', 'then: routed to default/', 'now: routed to default/', 'picked by'], silent=True)
    said = llmd('policy', 'explain', '--json', '--index', '3', data('flat.yaml'), folder('flat.rec')).is_(RIGHT).json()
    same('record', (said['record'], said['then']['status'], said['missing']), (3, 'routed', 0))
    same('endpoint', said['now']['targets'][0]['endpoint'], said['then']['endpoint'])


def not_policies(llmd):
    llmd('policy', 'check', data('flat.yaml')).is_(REFUSED, err='no policy in it')
    llmd('policy', 'repl', data('flat.yaml')).is_(REFUSED, err='no policy in it')
    llmd('policy', 'check', 'nothing.lua').is_(REFUSED, err='nothing.lua: No such file')


def no_loader(llmd, folder):
    llmd('check', '--loaders', folder('none'), folder('queue.lua')).is_(REFUSED, err='no folder')
    llmd('check', '--loaders', DATA, folder('queue.lua')).is_(REFUSED, err=['queue.lua: ', 'llmd-lua.so'])
    llmd('simulate', '--loaders', folder('none'), '--policy', 'default').is_(REFUSED, err='no folder')


# ---- FILE.lua in place of a configuration --------------------------------------------------------------------------

def as_configuration(llmd, folder):
    file = folder('queue.lua')
    llmd('check', file).is_(RIGHT, out=['type: lua', 'queue.lua', 'max-score-picker'], silent=True)
    said = llmd('decide', '--config', file, *POOL, '--json', data('chat.json')).is_(RIGHT, silent=True).json()
    scores = said['profiles'][0]['scorers'][0]['scores']
    near('one waits for seven', scores['default/one'], 1 / 15)
    rec = folder('queue.rec')
    llmd('decide', '--config', file, *POOL, '--record', rec, data('chat.json'), data('chat.json')).is_(RIGHT)
    llmd('replay', '--config', file, rec).is_(RIGHT, out='2 same, 0 differ', silent=True)
    said = llmd('policy', 'replay', '--json', file, rec).is_(RIGHT).json()
    same('by itself nothing changes', (said['same'], said['missing']['records']), (2, 0))
    here = os.getcwd()
    os.chdir(folder.path)
    try:
        llmd('check', 'queue.lua').is_(RIGHT, silent=True)
        llmd('check', 'syntax.lua').is_(REFUSED, err='syntax.lua:2: ')
    finally:
        os.chdir(here)


def wrong_texts(llmd, folder):
    for name, place in (('syntax.lua', ':2: '), ('typo.lua', ':2: ')):
        for args in (['check'], ['policy', 'check'], ['decide', *POOL, data('chat.json'), '--config'],
                     ['simulate', '--policy'], ['policy', 'repl']):
            answer = llmd(*args, folder(name)).is_(REFUSED, err=folder(name) + place)
            if args == ['check']:
                same('lines on stderr', answer.err.count('\n'), 1)
    folder.write('wrong.yaml', CONFIG.replace('longest.lua', 'syntax.lua'))
    llmd('check', folder('wrong.yaml')).is_(REFUSED, err=folder('syntax.lua') + ':2: ')
    folder.write('lost.yaml', CONFIG.replace('longest.lua', 'lost.lua'))
    llmd('check', folder('lost.yaml')).is_(REFUSED, err='lost.lua')
    llmd('check', '-', stdin=CONFIG.encode()).is_(REFUSED, err='queue.lua')


def simulate(llmd, folder):
    said = llmd(*SMALL, '--json', '--policy', 'default', '--policy', folder('queue.lua'), '--policy',
                folder('config.yaml')).is_(RIGHT, silent=True).json()
    same('names', [r['router'] for r in said['runs']], ['default', 'queue', 'config'])
    same('failures', [r['summary']['failures']['count'] for r in said['runs']], [0, 0, 0])
    llmd(*SMALL, '--policy', folder('queue.lua')).is_(RIGHT, out=['queue  '], silent=True)
    llmd(*SMALL, '--policy', folder('queue.lua'), '--record', folder('lua.rec')).is_(RIGHT)
    llmd('replay', '--config', folder('queue.lua'), folder('lua.rec')).is_(RIGHT, out='230 same, 0 differ')


def quickstart(llmd, source):
    """It finds as much as the default policy does, and twice what chance does."""
    policy = os.path.join(source, 'examples', 'llmd', 'prefix-and-kv.lua')
    llmd('policy', 'check', policy).is_(RIGHT, out='all right', silent=True)
    said = llmd(*SMALL, '--json', '--policy', 'random', '--policy', 'default', '--policy', policy).is_(RIGHT).json()
    hits = [r['summary']['simulation']['hit_rate'] for r in said['runs']]
    same(f'hit rates {hits}', hits[2] > hits[1] - 0.1 and hits[2] > 2 * hits[0], True)


# ---- check ---------------------------------------------------------------------------------------------------------

def check(llmd, folder):
    llmd('policy', 'check', folder('queue.lua')).is_(
        RIGHT, silent=True, out=['queue.lua: the shortest queue', 'name       queue', 'kinds      scorer',
                                 'verbs      score', 'weight', '0 to 10', 'of the queue', 'fast, slow', 'WaitingQueueSize',
                                 'label zone', 'header x-canary', 'the shorter one', '2 examples, all right'])
    said = llmd('policy', 'check', '--json', folder('queue.lua'), folder('keeps.lua')).is_(RIGHT, silent=True).json()
    same('valid', (said['valid'], [f['valid'] for f in said['files']]), (True, [True, True]))
    queue, keeps = said['files'][0]['policies'][0], said['files'][1]['policies'][0]
    own = [p for p in queue['parameters'] if p['name'] == 'params'][0]['fields']
    parameter = [p for p in own if p['name'] == 'weight'][0]
    same('parameter', [parameter[k] for k in ('type', 'default', 'min', 'max', 'doc')],
         ['float', '2', 0, 10, 'of the queue'])
    same('kinds', (queue['kinds'], keeps['kinds']), (['scorer'], ['scorer', 'producer']))
    same('verbs', (queue['verbs'], keeps['verbs']), (['score'], ['score', 'commit']))
    same('names', (queue['aliases'], keeps['aliases']), (['queue'], []))
    same('store', (queue.get('table_entries'), keeps['table_entries']), (None, 100))
    same('examples', (said['files'][0]['examples']['count'], len(said['files'][0]['examples']['lines'])), (2, 2))
    same('examples', said['files'][1]['examples'], {'lines': [], 'count': 0})


def check_lint(llmd, folder):
    said = llmd('policy', 'check', '--json', folder('longest.lua')).is_(RIGHT, silent=True).json()
    if not any('Nobody of sets-this' in line for line in said['files'][0]['remarks']):
        raise Wrong(f'an attribute that nobody writes is not told: {said["files"][0]["remarks"]}')
    same('a policy that is right has no remarks in this', [
        line for line in llmd('policy', 'check', '--json', folder('keeps.lua')).json()['files'][0]['remarks']], [])
    llmd('policy', 'check', folder('longest.lua')).is_(RIGHT, out=['remarks', 'Nobody of sets-this', 'no examples'])
    folder.write('unknown.lua', 'return {\n  score = function(waiting)\n    return 1 / wating\n  end,\n}\n')
    remark = "unknown.lua:3: global 'wating' is not known: did you mean waiting?"
    llmd('policy', 'check', folder('unknown.lua')).is_(RIGHT, out=['remarks', remark], silent=True)
    llmd('policy', 'check', '--strict', folder('unknown.lua')).is_(REFUSED, out=remark)
    said = llmd('policy', 'check', '--strict', '--json', folder('unknown.lua'), folder('queue.lua')).is_(REFUSED).json()
    same('valid', (said['valid'], [f['valid'] for f in said['files']], said['files'][0]['remarks'][:1]),
         (False, [False, True], [remark]))
    llmd('policy', 'check', '--strict', folder('queue.lua')).is_(RIGHT, silent=True)


def body(lines):
    return f'return {{\n  reads = {{"waiting", "header:x-canary", zone = "label:zone"}}, store = 100,\n{lines}\n}}\n'


SCORES = '  score = function(req, cols, out)\n    for i = 1, cols.n do out[i] = %s end\n  end,'
KEPT = '  score = function() return 0.5 end,\n  '
# what stands in a policy, and what is said of it
MISTAKES = {
    'nofunction': (SCORES % 'llmd.normalize(cols.waiting[i])', "nofunction.lua:4: ", "'normalize'"),
    'field': (SCORES % 'req.tokns', "field.lua:4: req has no 'tokns': did you mean tokens?"),
    'column': (SCORES % 'cols.runing[i]', 'column.lua:4: cols.runing is not declared in reads'),
    'method': (SCORES % 'req.model:match("a") and 1 or 0', "method.lua:4: ", "'match'"),
    'header': (SCORES % '(req.headers["x-canary"] or ""):match("a") and 1 or 0', "header.lua:4: ", "'match'"),
    'absent': (SCORES % '#req.headers["x-canary"]', 'absent.lua:4: ', 'nil value'),
    'present': (SCORES % '(req.headers["x-canary"] and nil + 1 or 0)', 'present.lua:4: ', 'nil value'),
    'label': (SCORES % '(cols.zone[i] == "1" and nil + 1 or 0)', 'label.lua:4: ', 'nil value'),
    'writes': (SCORES % 'llmd.store.put("a", i)', 'writes.lua:4: llmd.store.put: only commit and report may write'),
    'key': (KEPT + 'commit = function(req) llmd.store.put(req.session, 1) end,', 'commit failed: key.lua:4: ',
            '1 to 256 bytes'),
    'priority': (SCORES % '(req.priority < 0 and nil + 1 or 0)', 'priority.lua:4: '),
    'alone': (SCORES % '(cols.n == 1 and nil + 1 or 0)', 'alone.lua:4: '),
    'three': (SCORES % '(cols.n == 3 and nil + 1 or 0)', 'three.lua:4: '),
    'busy': (SCORES % '(cols.waiting[i] > 9 and nil + 1 or 0)', 'busy.lua:4: '),
    'unknown': (SCORES % '(cols.waiting[i] ~= cols.waiting[i] and nil + 1 or 0)', 'unknown.lua:4: '),
    'infinite': (SCORES % 'math.huge', 'LLMD_E_', 'infinite'),
    'endless': ('  score = function() while true do end end,', 'endless.lua:3: ', 'instructions'),
}
KINDS = ['headers', 'first', 'tokens', 'done', 'failed', 'cancelled']


def remarks_of(llmd, *files):
    said = llmd('policy', 'check', '--json', *files).is_(RIGHT, silent=True).json()
    return [[line for line in f['remarks'] if 'no function asks for' not in line] for f in said['files']]


def check_trial(llmd, folder, source):
    """What fails in the bodies of functions is found without any example, and what is right is not blamed."""
    for name, (lines, *_) in MISTAKES.items():
        folder.write(name + '.lua', body(lines))
    files = [folder(name + '.lua') for name in MISTAKES]
    for (name, (_, *words)), remarks in zip(MISTAKES.items(), remarks_of(llmd, *files)):
        if len(remarks) != 1 or not remarks[0].startswith('fails on made-up requests: ') or \
                not all(word in remarks[0] for word in words):
            raise Wrong(f'{name}: {words} in one remark is expected: {remarks}')
    for kind in KINDS:
        folder.write('reports.lua', body(
            KEPT + f'report = function(target, kind) if kind == "{kind}" then return nil + 1 end end,'))
        remarks = remarks_of(llmd, folder('reports.lua'))[0]
        if len(remarks) != 1 or 'requests: report failed: reports.lua:4: ' not in remarks[0]:
            raise Wrong(f'{kind}: {remarks}')
    remark = f'  fails on made-up requests: {MISTAKES["field"][1]}\n'
    llmd('policy', 'check', folder('field.lua')).is_(
        RIGHT, out=['remarks', remark, 'no examples: add examples = {...}'], silent=True)
    llmd('policy', 'check', '--strict', folder('field.lua')).is_(REFUSED, out=remark, silent=True)
    folder.write('two.yaml', CONFIG.replace('queue.lua, params: {weight: 4}', 'field.lua').replace('longest', 'column'))
    same('a configuration', sorted(remarks_of(llmd, folder('two.yaml'))[0]),
         ['fails on made-up requests: ' + MISTAKES[name][1] for name in ('column', 'field')])
    same('right ones', remarks_of(llmd, folder('queue.lua'), folder('keeps.lua')), [[], []])
    policies = os.path.join(source, 'lua', 'policies')
    ours = sorted(os.path.join(policies, name) for name in os.listdir(policies) if name.endswith('.lua'))
    said = remarks_of(llmd, *ours)
    same('ours', [(name, remarks) for name, remarks in zip(ours, said) if remarks], [])
    same('some', len(ours) > 10, True)
    spill(llmd, folder, ours)


def spill(llmd, folder, ours):
    """A profile handler is tried where its profiles are."""
    with open([name for name in ours if name.endswith('spillover.lua')][0], encoding='utf-8') as f:
        text = f.read()
    head = 'apiVersion: llm-d.ai/v1alpha1\nkind: EndpointPickerConfig\nplugins:\n' \
           '- {type: lua, name: handler, parameters: {file: %s}}\n- type: queue-scorer\nschedulingProfiles:\n'
    profile = '- {name: %s, plugins: [{pluginRef: queue-scorer}]}\n'
    folder.write('spill.lua', text)
    folder.write('spill.yaml', head % 'spill.lua' + profile % 'own' + profile % 'spill')
    same('with its profiles', remarks_of(llmd, folder('spill.yaml'), folder('spill.lua')), [[], []])
    folder.write('spill.yaml', head % 'spill.lua' + profile % 'other' + profile % 'spill')
    if not any("field 'own'" in line for line in remarks_of(llmd, folder('spill.yaml'))[0]):
        raise Wrong('a profile that is missing is not told')


def check_yaml(llmd, folder):
    llmd('policy', 'check', folder('config.yaml')).is_(
        RIGHT, silent=True, out=['mine, queue.lua: ', 'other, longest.lua: ', '2 examples'])
    same('policies', [p['instance'] for p in llmd('policy', 'check', '--json', folder('config.yaml')).json()['files'][0]
                      ['policies']], ['mine', 'other'])


def check_wrong(llmd, folder):
    answer = llmd('policy', 'check', folder('example.lua')).is_(REFUSED, err=[folder('example.lua'), 'the shorter one'])
    if 'all right' in answer.out:
        raise Wrong(f'an example that came out differently\n{answer}')
    said = llmd('policy', 'check', '--json', folder('example.lua'), folder('syntax.lua'), folder('queue.lua')).is_(
        REFUSED).json()
    same('valid', (said['valid'], [f['valid'] for f in said['files']]), (False, [False, False, True]))
    same('code', said['files'][0]['error']['code'], 'LLMD_E_PLUGIN')
    error = said['files'][1]['error']
    same('place', (error['file'], error['line'], error['path']), (folder('syntax.lua'), 2, ''))


# ---- replay, explain -----------------------------------------------------------------------------------------------

def replay(llmd, folder):
    said = llmd('policy', 'replay', '--json', '--list', '9', folder('longest.lua'), folder('queue.rec')).is_(
        RIGHT, silent=True).json()
    same('changed', (said['records'], said['changed'], said['missing']), (2, 2, {'records': 2, 'columns': 1}))
    same('where to', {c['now']['endpoint'] for c in said['changes']}, {'default/one'})
    near('score', said['changes'][0]['now']['score'], 7 / 8)
    one = [e for e in said['endpoints'] if e['name'] == 'default/one'][0]
    same('load', (one['then'], one['now'], one['moved'], one['score_then']), (0, 2, 2, None))
    llmd('policy', 'replay', '--list', '1', folder('longest.lua'), folder('queue.rec')).is_(
        RIGHT, out=['record 1: default/', '-> default/one 0.875', 'changed: another endpoint', 'load moved: 2 of 2'])
    llmd('policy', 'replay', folder('config.yaml'), folder('sim.rec')).is_(RIGHT, out='30 records', silent=True)


def replay_fails(llmd, folder):
    """A policy that fails is left out; the tool says so, and why."""
    for name, why in (('fails.lua', 'nothing'), ('loop.lua', 'LLMD_E_LIMIT')):
        said = llmd('policy', 'replay', '--json', folder(name), folder('queue.rec')).is_(REFUSED).json()
        same('failed', (said['failed'], said['same'], said['failures'][0]['records']), (2, 0, 2))
        if why not in said['failures'][0]['text']:
            raise Wrong(f'{name}: {said["failures"]}')
        llmd('policy', 'replay', folder(name), folder('queue.rec')).is_(REFUSED, out='2 x ')
        llmd('policy', 'explain', folder(name), folder('queue.rec')).is_(REFUSED, out=['failed: ', why])


def explain(llmd, folder):
    llmd('policy', 'explain', '--index', '2', folder('longest.lua'), folder('queue.rec')).is_(
        RIGHT, out=['record 2 of', 'then: routed to', '1 column that', 'now: routed to default/one'], silent=True)


def explain_kept(llmd, folder):
    """The policy that made a record finds in llmd.store what it found then; another text finds nothing."""
    kept = folder('kept.rec')
    llmd('decide', '--config', folder('keeps.lua'), *POOL, '--record', kept, data('chat.json'), data('chat.json')).is_(
        RIGHT, silent=True)
    said = llmd('policy', 'explain', '--json', '--index', '2', folder('keeps.lua'), kept).is_(RIGHT, silent=True).json()
    near('score', said['then']['score'], 0.1)
    near('score again', max(said['now']['profiles'][0]['totals'].values()), 0.1)
    said = llmd('policy', 'replay', '--json', folder('keeps.lua'), kept).is_(RIGHT, silent=True).json()
    same('same', (said['records'], said['same'], said['missing']['records']), (2, 2, 0))
    folder.write('again.lua', KEEPS + '-- another text\n')
    said = llmd('policy', 'explain', '--json', '--index', '2', folder('again.lua'), kept).is_(RIGHT, silent=True).json()
    near('empty', max(said['now']['profiles'][0]['totals'].values()), 0)


def bar(llmd, folder):
    """A progress bar is drawn when standard error is a terminal."""
    master, slave = pty.openpty()
    run = subprocess.Popen([llmd.program, 'policy', 'replay', data('flat.yaml'), folder('sim.rec')],
                           stdout=subprocess.PIPE, stderr=slave)
    os.close(slave)
    drawn = b''
    while True:
        try:
            piece = os.read(master, 4096)
        except OSError:
            break
        if not piece:
            break
        drawn += piece
    os.close(master)
    out = run.communicate(timeout=60)[0]
    same('exit code', run.returncode, RIGHT)
    if b'100%' not in drawn or b'30 records' not in out:
        raise Wrong(f'no bar: {drawn[-200:]!r}\n{out!r}')


# ---- repl ----------------------------------------------------------------------------------------------------------

def repl_lua(llmd, folder):
    said = llmd('policy', 'repl', stdin=b'1 + 1\nlocal x = 20\nfor i = 1, 2 do\n  local y = i\nend\n'
                b'llmd.max({1, 5, 2})\n"two words", nil, true\n').is_(RIGHT, silent=True)
    lines = said.out.splitlines()
    same('values', (lines[0], float(lines[1]), lines[2].split()), ('2', 5, ['"two', 'words"', 'nil', 'true']))
    said = llmd('policy', 'repl', folder('queue.lua'), stdin=b'p.weight * 3').is_(RIGHT, silent=True)
    same('parameters', float(said.out), 6)
    for line, word in ((b'nothing()', 'nothing'), (b'os.exit()', 'os'), (b'while true do end', ''), (b'1 +* 2', ''),
                       (b'llmd.max(', 'not complete'), (b':nope', ':help'), (b':set 1 waiting', 'WORD=VALUE'),
                       (b':set 9 waiting=1', 'from 1 to 3'), (b':set 1 wating=3', 'wating'),
                       (b':set 1 waiting=x', 'number'),
                       (b':set 1 waiting=-4', 'cannot be'), (b':set 1 name=x', 'nothing that can be set'),
                       (b':request nope=1', "no 'nope'"), (b':request tokens=many', 'whole number'),
                       (b':explain', ':run'), (b':commit', ':run'), (b':report done', ':commit'), (b':report', 'first'),
                       (b':endpoints x', "'x'"), (b':policy none', ':policy')):
        answer = llmd('policy', 'repl', folder('queue.lua'), stdin=line + b'\n7 * 6\n' if b'(' not in line else line)
        answer.is_(REFUSED, err=word)
        if b'(' not in line and '42' not in answer.out:
            raise Wrong(f'the next line does not run\n{answer}')


def run_lines(llmd, file, *lines):
    return llmd('policy', 'repl', file, stdin='\n'.join(lines).encode() + b'\n')


def repl_decides(llmd, folder):
    file = folder('queue.lua')
    answer = run_lines(llmd, file, ':set * waiting=4', ':set 2 waiting=1 label:zone=eu', ':set 3 waiting=', ':run').is_(
        RIGHT, silent=True)
    rows = {line.split()[-3]: line.split() for line in answer.out.splitlines() if 'pod-' in line}
    same('rows', {k: (v[-2], v[-1], '1>' in v) for k, v in rows.items()},
         {'default/pod-1': ('0.111', '0.111', False), 'default/pod-2': ('0.333', '0.333', True),
          'default/pod-3': ('-', '0.000', False)})
    for gone, score in (('waiting=unknown', '-'), ('waiting=', '-'), ('waiting=0', '1.000')):
        answer = run_lines(llmd, file, ':endpoints 2', ':set 2 ' + gone, ':run').is_(RIGHT, silent=True)
        same('idle, and ' + gone, [line.split()[-2] for line in answer.out.splitlines() if 'pod-' in line], ['1.000', score])
    run_lines(llmd, file, ':set 1 waiting=0', ':run', ':explain').is_(
        RIGHT, out=['routed to', 'picked by max-score-picker'])
    run_lines(llmd, file, ':endpoints 5', ':endpoints', ':run').is_(RIGHT, out=['5 endpoints', 'default/pod-5'])
    run_lines(llmd, file, ':endpoints 0', ':run').is_(RIGHT, out='rejected: ')
    answer = run_lines(llmd, file, ':quit', 'nothing()').is_(RIGHT, silent=True)
    run_lines(llmd, folder('fails.lua'), ':set * waiting=1', ':run').is_(REFUSED, err='policy: ')
    run_lines(llmd, folder('config.yaml'), ':policy', ':policy other', ':policy mine', 'p.weight').is_(
        RIGHT, out=['mine, queue.lua', 'other, longest.lua', '4'])


SEES = '''return {
  summary = "what it sees", reads = {"prefix_match", zone = "label:zone", "lora_active", rack = "topology_rack"},
  score = function(req, cols, out)
    out[1] = cols.prefix_match[1] / 10
    out[2] = cols.zone[2] == "eu" and 0.25 or 0
    out[3] = cols.lora_active[3] * 0.5
    out[4] = (req.model == "m" and req.tokens == 100 and req.tenant == "x y" and req.session == "s" and
              req.priority == 3 and req.max_tokens == 7 and req.stream) and 0.75 or 0
    out[5] = req.now >= 10 and req.wall == 1010 and 0.125 or 0
    out[6] = cols.rack[6] == "r1" and 1 or 0
  end,
}
'''


def repl_sees(llmd, folder):
    """What is set is what the policy sees."""
    folder.write('sees.lua', SEES)
    answer = run_lines(llmd, folder('sees.lua'), ':endpoints 6', ':set 1 prefix_match=3', ':set 2 label:zone=eu',
                       ':set 3 lora_active=a,m', ':set 6 topology_rack=r1', ':now 1000', ':wait 10',
                       ':request model=m tokens=100 "tenant=x y" session=s priority=3 max_tokens=7 stream=true', ':run')
    answer.is_(RIGHT, silent=True)
    rows = [line.split() for line in answer.out.splitlines() if 'pod-' in line]
    same('scores', [row[-2] for row in rows], ['0.300', '0.250', '0.500', '0.750', '0.125', '1.000'])


def repl_keeps(llmd, folder):
    """Commits teach the policy; an older text's mistakes leave the new one alone."""
    answer = run_lines(llmd, folder('keeps.lua'), ':run', ':commit', ':report done', ':run', ':commit 2',
                       ':report failed', ':run')
    answer.is_(RIGHT, silent=True)
    totals = [line.split()[-1] for line in answer.out.splitlines() if 'pod-1' in line]
    same('totals', totals, ['0.000', '0.100', '0.200'])


def repl_tells(llmd, folder):
    """What fails where no explanation shows it."""
    folder.write('forgets.lua', KEEPS.replace('commit = function(req) llmd.store.put', 'commit = function(req) llmd.store.pt'))
    run_lines(llmd, folder('forgets.lua'), ':run', ':commit').is_(REFUSED, err=['commit failed: forgets.lua:7: ', "'pt'"])


def repl_reloads(llmd, folder):
    file = folder('changes.lua')
    folder.write('changes.lua', 'return {score = function() return 0.25 end}')
    run = subprocess.Popen([llmd.program, 'policy', 'repl', file], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                           stderr=subprocess.PIPE)

    def ask(line, until):
        run.stdin.write(line.encode() + b'\n:seed\n')
        run.stdin.flush()
        said = b''
        while b'seed 1\n' not in said:
            if not select.select([run.stdout], [], [], 60)[0]:
                raise Wrong(f'no answer to {line}: {said!r}')
            piece = os.read(run.stdout.fileno(), 4096)
            if not piece:
                raise Wrong(f'it ended at {line}: {said!r}')
            said += piece
        if until not in said.decode():
            raise Wrong(f'{line}: {until!r} is missing in {said!r}')

    ask(':run', '0.250')
    folder.write('changes.lua', 'return {score = function() return 0.5 end}')
    ask(':reload', '')
    ask(':run', '0.500')
    folder.write('changes.lua', 'return {score = function() return +* end}')
    ask(':reload', '')
    ask(':run', '0.500')
    err = run.communicate(timeout=60)[1].decode()
    same('exit code', run.returncode, REFUSED)
    if 'changes.lua:1: ' not in err:
        raise Wrong(f'the mistake is not told: {err!r}')


def main(program, source, build):
    llmd = Shell(os.path.abspath(program))
    lua = None if os.path.exists(os.path.join(build, 'plugins', 'llmd-lua.so')) else 'needs llmd-lua.so'
    with tempfile.TemporaryDirectory() as path:
        folder = folder_of(path)
        records_of(llmd, folder)
        attempt('policy: usage', usage, llmd)
        attempt('policy: what is no policy', not_policies, llmd)
        attempt('policy: no loader', no_loader, llmd, folder)
        attempt('simulate: records', record, llmd, folder)
        attempt('policy replay: a configuration', replay_yaml, llmd, folder)
        attempt('policy replay: a bar', bar, llmd, folder)
        attempt('policy replay: wrong input', replay_wrong, llmd, folder)
        attempt('policy explain: a configuration', explain_yaml, llmd, folder)
        attempt('FILE.lua as configuration', as_configuration, llmd, folder, skip=lua)
        attempt('FILE.lua that is wrong', wrong_texts, llmd, folder, skip=lua)
        attempt('simulate: FILE.lua', simulate, llmd, folder, skip=lua)
        attempt('the quickstart\'s policy', quickstart, llmd, source, skip=lua)
        attempt('policy check: what it is', check, llmd, folder, skip=lua)
        attempt('policy check: what stands out', check_lint, llmd, folder, skip=lua)
        attempt('policy check: made-up requests', check_trial, llmd, folder, source, skip=lua)
        attempt('policy check: a configuration', check_yaml, llmd, folder, skip=lua)
        attempt('policy check: wrong input', check_wrong, llmd, folder, skip=lua)
        attempt('policy replay: a policy', replay, llmd, folder, skip=lua)
        attempt('policy replay: a policy that fails', replay_fails, llmd, folder, skip=lua)
        attempt('policy explain: a policy', explain, llmd, folder, skip=lua)
        attempt('policy explain: by what made the record', explain_kept, llmd, folder, skip=lua)
        attempt('policy repl: Lua', repl_lua, llmd, folder, skip=lua)
        attempt('policy repl: decisions', repl_decides, llmd, folder, skip=lua)
        attempt('policy repl: what is set is seen', repl_sees, llmd, folder, skip=lua)
        attempt('policy repl: what is kept', repl_keeps, llmd, folder, skip=lua)
        attempt('policy repl: what fails unseen', repl_tells, llmd, folder, skip=lua)
        attempt('policy repl: reload', repl_reloads, llmd, folder, skip=lua)
    tap.done()


if __name__ == '__main__':
    main(*sys.argv[1:])
