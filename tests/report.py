#!/usr/bin/env python3
"""Counts what meson's test logs hold, one TAP point at a time, and prints every failure with what it said.

    tests/report.py NAME=BUILDDIR ... [--problem NAME=LOGFILE ...] [--skip NAME=REASON ...]
    tests/report.py --select BUILDDIR [SUITE ...]

Each build directory holds meson-logs/testlog.json and meson-logs/selected.txt. --select writes the second: the names of
the tests in these suites (all suites when none is named), so that a program without a result counts as failed; it
prints the files that ninja has to build for them. --problem names a phase that could not be set up or built, --skip
one that could not be tried. The last line of a report is `N passed, M failed, K skipped`; exit 1 when M > 0 or nothing passed.
"""
import json
import os
import re
import sys

POINT = re.compile(r'^(ok|not ok)\b\s*(\d+)?\s*(?:-\s*)?(.*?)\s*(?:#\s*(skip|todo)\S*\s*(.*))?$', re.I)
PLAN = re.compile(r'^1\.\.(\d+)\s*(?:#\s*skip\S*\s*(.*))?$', re.I)
REASON = re.compile(r'skipped: (.*)')
SHOWN = 60  # lines of output shown for one failure


class Result:
    """What one test program came to."""

    def __init__(self, name):
        self.name = name
        self.passed = 0
        self.failures = []  # (what failed, lines it said)
        self.skips = []     # why

    def fail(self, what, lines=()):
        self.failures.append((what, list(lines)))


def read_tap(result, text):
    """Fills result from TAP; returns how many points the plan promised beyond those that came, None without a plan."""
    planned = None
    seen = 0
    said = None   # lines of the failing point above, or None
    reason = ''   # last "skipped: ..." line
    for line in text.splitlines():
        plan = PLAN.match(line)
        point = POINT.match(line)
        if plan:
            planned = (planned or 0) + int(plan.group(1))
            if plan.group(1) == '0':
                result.skips.append(plan.group(2) or 'no reason given')
        elif point:
            seen += 1
            said = None
            word, number, name, directive, rest = point.groups()
            if directive:
                result.skips.append(reason or rest or name or 'no reason given')
            elif word.lower() == 'ok':
                result.passed += 1
            else:
                said = []
                result.failures.append((name or f'point {number or seen}', said))
            reason = ''
        elif line.startswith('Bail out!'):
            result.fail(line)
        else:
            found = REASON.search(line)
            reason = found.group(1) if found else reason
            if said is not None and len(said) < SHOWN:
                said.append(line)
    return None if planned is None else planned - seen


def how_it_ended(entry):
    code = entry.get('returncode', 0)
    if entry['result'] == 'TIMEOUT':
        return f'timed out after {entry.get("duration", 0):.0f} s'
    if code < 0:
        return f'killed by signal {-code}'
    return f'ended with exit code {code}'


def tail(text):
    lines = [line for line in (text or '').splitlines()
             if line.strip() and not line.startswith('(test program exited with')]
    return lines[-SHOWN:]


def judge(entry, protocol):
    """One record of testlog.json as a Result."""
    result = Result(entry['name'])
    stdout, stderr = entry.get('stdout') or '', entry.get('stderr') or ''
    good = entry['result'] in ('OK', 'EXPECTEDFAIL', 'SKIP')
    if protocol != 'tap':
        if entry['result'] == 'SKIP':
            found = REASON.search(stdout + stderr)
            result.skips.append(found.group(1) if found else 'no reason given')
        elif good:
            result.passed = 1
        else:
            result.fail(how_it_ended(entry), tail(stdout) + tail(stderr))
        return result
    absent = read_tap(result, stdout)
    points = result.passed + len(result.failures) + len(result.skips)
    if absent is not None and absent > 0:
        for _ in range(absent):
            result.failures.append(('', []))
        result.failures[-absent] = (f'{absent} of the planned points did not come: {how_it_ended(entry)}', [])
    elif absent is None and points == 0 or absent is not None and absent < 0:
        result.fail('the points do not fit the plan: ' + how_it_ended(entry), tail(stdout))
    # meson calls a skip in cmocka's spelling ("not ok 1 # SKIP") a failure; the points above say better.
    only_skips = entry['result'] == 'FAIL' and not entry.get('returncode') and result.skips
    if not good and not result.failures and not only_skips:
        result.fail(how_it_ended(entry), tail(stdout))
    if result.failures and stderr:
        result.failures[0][1].extend(tail(stderr))
    return result


def introspect(build, what):
    with open(os.path.join(build, 'meson-info', f'intro-{what}.json'), encoding='utf-8') as f:
        return json.load(f)


def protocols(build):
    try:
        return {tuple(t['cmd']): t['protocol'] for t in introspect(build, 'tests')}
    except (OSError, ValueError, KeyError):
        return {}


def read_phase(build):
    """Results of one build directory. Anything missing or torn becomes a failure."""
    results = []
    known = protocols(build)
    try:
        with open(os.path.join(build, 'meson-logs', 'testlog.json'), encoding='utf-8') as f:
            lines = f.read().splitlines()
    except OSError:
        lines = []
    for line in lines:
        try:
            entry = json.loads(line)
            protocol = known.get(tuple(entry.get('command') or ()))
            if protocol is None:
                protocol = 'tap' if re.search(r'^1\.\.\d', entry.get('stdout') or '', re.M) else 'exitcode'
            results.append(judge(entry, protocol))
        except (ValueError, KeyError):
            broken = Result('testlog.json')
            broken.fail('unreadable record: ' + line[:120])
            results.append(broken)
    try:
        with open(os.path.join(build, 'meson-logs', 'selected.txt'), encoding='utf-8') as f:
            selected = sum(1 for line in f if line.strip())
    except OSError:
        selected = len(results)
    for _ in range(selected - len(results)):
        lost = Result('a program without a result')
        lost.fail('the test runner ended before it, see meson-logs/testlog.txt')
        results.append(lost)
    return results


def print_failures(phase, build, results):
    for result in results:
        if not result.failures:
            continue
        again = f'   (meson test -C {build} -v "{short_name(result.name)}")' if build else ''
        print(f'\n--- {phase}: {result.name}{again}')
        for what, lines in result.failures:
            if what:
                print('  FAILED ' + what)
            for line in lines:
                print('    ' + line)


def short_name(name):
    return name.rsplit(' / ', 1)[-1]


def print_skips(phases):
    reasons = {}
    for phase, _, results in phases:
        for result in results:
            for reason in result.skips:
                why = re.sub(r'^(skipped: )+', '', reason.strip())
                reasons.setdefault(why, {}).setdefault(short_name(result.name), set()).add(phase)
    for reason, where in sorted(reasons.items()):
        names = sorted(where)
        more = f' and {len(names) - 4} more' if len(names) > 4 else ''
        print(f'skipped: {reason} ({", ".join(names[:4])}{more})')


def select(build, suites):
    """Tests of these suites: their names into selected.txt, the files they need on stdout."""
    chosen = [t for t in introspect(build, 'tests')
              if not suites or any(s.split(':')[-1] in suites for s in t['suite'])]
    needed = {d for t in chosen for d in t['depends']}
    with open(os.path.join(build, 'meson-logs', 'selected.txt'), 'w', encoding='utf-8') as f:
        f.writelines(t['name'] + '\n' for t in chosen)
    for target in introspect(build, 'targets'):
        if target['id'] in needed:
            for name in target['filename']:
                print(os.path.relpath(name, build))
    return 0


def main(args):
    if args and args[0] == '--select':
        return select(args[1], args[2:])
    phases, problems = [], []
    while args:
        arg = args.pop(0)
        if arg == '--problem':
            problems.append(args.pop(0).split('=', 1))
        elif arg == '--skip':
            name, why = args.pop(0).split('=', 1)
            left_out = Result('phase ' + name)
            left_out.skips.append(why)
            phases.append((name, None, [left_out]))
        else:
            name, build = arg.split('=', 1)
            phases.append((name, build, read_phase(build)))
    for name, log in problems:
        broken = Result('set up or build')
        with open(log, encoding='utf-8', errors='replace') as f:
            broken.fail('could not be built', f.read().splitlines()[-SHOWN:])
        phases.append((name, None, [broken]))
    for phase, build, results in phases:
        print_failures(phase, build, results)
    print()
    print_skips(phases)
    total = [0, 0, 0]
    for phase, _, results in phases:
        counts = [sum(r.passed for r in results), sum(len(r.failures) for r in results),
                  sum(len(r.skips) for r in results)]
        total = [a + b for a, b in zip(total, counts)]
        print(f'{phase}: {counts[0]} passed, {counts[1]} failed, {counts[2]} skipped in {len(results)} programs')
    print('{} passed, {} failed, {} skipped'.format(*total))
    return 1 if total[1] or not total[0] else 0


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
