#!/usr/bin/env python3
"""The reference's own test tables through the public API: vectors.py ORACLE SOURCE_ROOT, as a test (TAP).

../shared/vectors (or LLMD_SHARED/vectors) holds the tables. Each case becomes one or more situations for the oracle program
and a check of what it decided; all situations go through one run of it. A case that has no meaning for a decision (policies of
the flow queue, hashes, events) is counted as not applicable, with the reason. A point is a table.
"""
import json
import os
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
sys.path.insert(0, os.path.join(HERE, '..', 'lint'))
import tap  # noqa: E402
import vectors_plugins  # noqa: E402
import vectors_policy  # noqa: E402
from vectors_base import NotApplicable  # noqa: E402

TABLES = {**vectors_plugins.TABLES, **vectors_policy.TABLES}
LATER = 'no decision shows an event: conformance/events'
HASHES = 'no decision shows a hash: conformance/hashes'
NOT_HERE = dict.fromkeys((
    'golden_hashes', 'vllm.block_hash', 'vllm.block_hash.public', 'llm-d.kvblock.request_keys',
    'llm-d.approx_prefix.block_hashes', 'dynamo.block_and_sequence_hash', 'sglang.page_hash',
    'xxh64.parent8_tokens4.block_hash'), HASHES)
NOT_HERE['llm-d.example_prompt_hashes'] = 'hashes of texts: they need the tokenizer of that model'


def prepare(tables):
    """[(table, case number, Case or reason)] and the situations, numbered."""
    work, situations = [], []
    for table in tables:
        make = TABLES[table['id']]
        cases = table['cases'] if isinstance(table['cases'], list) else [table['cases']]
        for number, case in enumerate(cases):
            try:
                made = make(case, table)
            except NotApplicable as reason:
                work.append((table['id'], number, None, str(reason)))
                continue
            ids = []
            for one in made.situations:
                ids.append(len(situations))
                situations.append(dict(one, id=len(situations)))
            work.append((table['id'], number, made, ids))
    return work, situations


def decide(oracle, situations):
    lines = ''.join(json.dumps(s) + '\n' for s in situations)
    done = subprocess.run(tap.program(oracle) + ['-'], input=lines, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          universal_newlines=True, check=False)
    results = {r['id']: r for r in map(json.loads, done.stdout.splitlines())}
    return results, done.stderr.splitlines()


def judge(made, ids, results):
    """What is wrong with one case, or None."""
    missing = [i for i in ids if i not in results]
    if missing:
        return 'not decided: ' + json.dumps(made.situations[ids.index(missing[0])])[:400]
    try:
        return made.check([results[i] for i in ids])
    except (KeyError, IndexError, TypeError) as problem:
        return f'{problem!r} in {json.dumps([results[i] for i in ids])[:400]}'


def run_tables(oracle, tables):
    work, situations = prepare(tables)
    results, problems = decide(oracle, situations)
    tap.point('every situation was decided', problems[:20])
    passed = left_out = 0
    for table in tables:
        mine = [w for w in work if w[0] == table['id']]
        wrong, reasons = [], {}
        for _, number, made, ids in mine:
            if made is None:
                reasons.setdefault(ids, []).append(number)
                continue
            problem = judge(made, ids, results)
            if problem:
                wrong.append(f'case {number}: {problem}')
        absent = sum(map(len, reasons.values()))
        good = len(mine) - absent - len(wrong)
        passed += good
        left_out += absent
        if absent < len(mine):
            tap.point(f'{table["id"]}: {good} cases' + (f', {absent} not applicable' if absent else ''), wrong)
        for reason, numbers in reasons.items():
            tap.note(f'{table["id"]}: not applicable: {len(numbers)} of {len(mine)}: {reason}')
    return passed, left_out


def leave_out(router, events):
    """Sets that no decision shows; the number of their cases."""
    left_out = 0
    for name, cases in [('golden_hashes', router['golden_hashes']['vectors'])] + \
            [(s['name'], s['vectors']) for s in events['sets']]:
        tap.note(f'{name}: not applicable: {len(cases)}: {NOT_HERE.get(name, LATER)}')
        left_out += len(cases)
    return left_out


def load(folder, name):
    with open(os.path.join(folder, name), encoding='utf-8') as f:
        return json.load(f)


def main(oracle, root):
    folder = os.path.join(os.environ.get('LLMD_SHARED') or os.path.join(root, '..', 'shared'), 'vectors')
    if not os.path.isfile(os.path.join(folder, 'llm-d-router.json')):
        tap.point('the reference\'s tables', skip='needs ../shared/vectors')
        tap.done()
    router, events = load(folder, 'llm-d-router.json'), load(folder, 'prefix-and-events.json')
    unknown = [t['id'] for t in router['sets'] if t['id'] not in TABLES]
    tap.point('every table is known', unknown)
    passed, left_out = run_tables(oracle, [t for t in router['sets'] if t['id'] in TABLES])
    left_out += leave_out(router, events)
    tap.note(f'{passed} cases passed, {left_out} not applicable')
    tap.done()


if __name__ == '__main__':
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
