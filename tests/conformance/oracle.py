#!/usr/bin/env python3
"""Decisions against the reference's own: oracle.py ORACLE SOURCE_ROOT, as a test (TAP).

data/ holds some of the cases of every family and is always compared. All of them are when ../shared/oracle is there
(or LLMD_SHARED names the folder): by its own compare.py.
"""
import collections
import os
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
sys.path.insert(0, os.path.join(HERE, '..', 'lint'))
import compare  # noqa: E402
import tap  # noqa: E402


def decide(oracle, cases, folder):
    """The oracle's answers, as a file."""
    path = os.path.join(folder, 'decided.jsonl')
    with open(path, 'wb') as f:
        done = subprocess.run(tap.program(oracle) + [cases], stdout=f, stderr=subprocess.PIPE, check=False)
    problems = done.stderr.decode(errors='replace').splitlines()[:20]
    if done.returncode:
        problems.append(f'oracle ended with {done.returncode}')
    return path, problems


def compare_ours(oracle, folder):
    data = os.path.join(HERE, 'data')
    cases, want = (compare.load(os.path.join(data, name)) for name in ('cases.jsonl.gz', 'expected.jsonl.gz'))
    path, problems = decide(oracle, os.path.join(data, 'cases.jsonl.gz'), folder)
    got = compare.load(path)
    tap.point('every case was decided', problems)
    families = collections.defaultdict(dict)
    for number, case in cases.items():
        families[case['family']][number] = want[number]
    for family, expected in sorted(families.items()):
        tap.point(f'{family}: {len(expected)} cases',
                  (f'case {number}: {where}' for number, where in compare.differences(expected, got)))


def compare_all(oracle, shared, folder):
    if not os.path.isfile(os.path.join(shared, 'cases.jsonl.gz')):
        tap.point('all cases of the oracle', skip='needs ../shared/oracle')
        return
    path, problems = decide(oracle, os.path.join(shared, 'cases.jsonl.gz'), folder)
    judged = subprocess.run([sys.executable, os.path.join(shared, 'compare.py'), os.path.join(shared, 'expected.jsonl.gz'),
                             path], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True, check=False)
    said = judged.stdout.splitlines()
    tap.point('all cases of the oracle: ' + (said[0] if said else 'nothing compared'),
              problems + said if problems or judged.returncode else ())


def main(oracle, root):
    shared = os.environ.get('LLMD_SHARED') or os.path.join(root, '..', 'shared')
    with tempfile.TemporaryDirectory() as folder:
        compare_ours(oracle, folder)
        compare_all(oracle, os.path.join(shared, 'oracle'), folder)
    tap.done()


if __name__ == '__main__':
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
