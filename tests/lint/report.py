#!/usr/bin/env python3
"""The counter of tests/run counts what went wrong, however it went wrong.

    report.py SOURCE_ROOT
"""
import contextlib
import importlib.util
import io
import json
import os
import sys
import tempfile

import tap

# name: (stdout, meson's verdict, exit code, (passed, failed, skipped))
CASES = {
    'all well': ('1..2\nok 1 - a\nok 2 - b\n', 'OK', 0, (2, 0, 0)),
    'plan at the end': ('ok 1 - a\nok 2\n1..2\n', 'OK', 0, (2, 0, 0)),
    'one point fails': ('1..2\nok 1 - a\nnot ok 2 - b\n# said\n', 'ERROR', 1, (1, 1, 0)),
    'a point fails, exit code 0': ('1..1\nnot ok 1 - a\n', 'FAIL', 0, (0, 1, 0)),
    'crash between points': ('1..4\nok 1 - a\n', 'FAIL', -11, (1, 3, 0)),
    'crash after the last point': ('1..1\nok 1 - a\n', 'ERROR', -6, (1, 1, 0)),
    'crash before the plan': ('', 'FAIL', -11, (0, 1, 0)),
    'time runs out': ('1..3\nok 1 - a\n', 'TIMEOUT', -15, (1, 2, 0)),
    'says nothing': ('', 'SKIP', 0, (0, 1, 0)),
    'more points than planned': ('1..1\nok 1\nok 2\n', 'ERROR', 0, (2, 1, 0)),
    'gives up': ('1..2\nok 1\nBail out! no memory\n', 'ERROR', 1, (1, 2, 0)),
    'a name with a hash': ('1..1\nok 1 - case #4 of 5\n', 'OK', 0, (1, 0, 0)),
    'skips one': ('1..2\nok 1 - a # SKIP skipped: needs ../shared\nok 2 - b\n', 'OK', 0, (1, 0, 1)),
    'skips as cmocka does': ('1..1\nskipped: needs a file\nnot ok 1 # SKIP test_b\n', 'FAIL', 0, (0, 0, 1)),
    'skips all': ('1..0 # SKIP skipped: needs X\n', 'SKIP', 0, (0, 0, 1)),
    'comments that look like points': ('1..1\n# ok 2 - no\nok 1 - yes\n    ok 1 - inner\n', 'OK', 0, (1, 0, 0)),
}
PLAIN = {
    'plain program, well': ('', 'OK', 0, (1, 0, 0)),
    'plain program, fails': ('', 'FAIL', 3, (0, 1, 0)),
    'plain program, skipped': ('skipped: needs X\n', 'SKIP', 77, (0, 0, 1)),
    'plain program, time runs out': ('', 'TIMEOUT', -15, (0, 1, 0)),
}


def load(root):
    spec = importlib.util.spec_from_file_location('counter', os.path.join(root, 'tests', 'report.py'))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def counts(result):
    return result.passed, len(result.failures), len(result.skips)


def entry(name, case):
    return {'name': name, 'stdout': case[0], 'result': case[1], 'returncode': case[2], 'duration': 1.0}


def torn_phase(counter):
    """A log with a torn record, and a selected program that never reported."""
    with tempfile.TemporaryDirectory() as build:
        os.mkdir(os.path.join(build, 'meson-logs'))
        with open(os.path.join(build, 'meson-logs', 'testlog.json'), 'w', encoding='utf-8') as f:
            f.write(json.dumps(entry('a', CASES['all well'])) + '\n{"name": "b", "std\n')
        with open(os.path.join(build, 'meson-logs', 'selected.txt'), 'w', encoding='utf-8') as f:
            f.write('a\nb\nc\n')
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            code = counter.main([f'x={build}'])
        return code, said.getvalue().splitlines()[-1]


def main(root):
    sys.dont_write_bytecode = True
    counter = load(root)
    for protocol, cases in (('tap', CASES), ('exitcode', PLAIN)):
        for name, case in cases.items():
            got = counts(counter.judge(entry(name, case), protocol))
            tap.point(f'{name}: {case[3]}', [] if got == case[3] else [f'counted {got}'])
    code, last = torn_phase(counter)
    tap.point('a torn log fails', [] if (code, last) == (1, '2 passed, 2 failed, 0 skipped') else [code, last])
    tap.done()


if __name__ == '__main__':
    main(sys.argv[1])
