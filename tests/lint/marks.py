#!/usr/bin/env python3
"""Marks that do not belong into committed files.

    marks.py SOURCE_ROOT

Machine paths, trailing white space, tabs in C, carriage returns, a missing newline at the end, lines of C well over
120 columns, unfinished business, and in the core: number formats that follow the locale.
"""
import re
import sys

import tap
import tree

TEXT = ('.c', '.h', '.in', '.build', '.txt', '.py', '.sh', '.md', '.map', '.yaml', '.yml', '.lua', '.cmake')
SCRIPTS = re.compile(r'^(tests/(run|install|.*/run|.*/update)|examples/quickstart|\.ci/run|Makefile|.*/Makefile)$')
# Inputs of tests are as they are: seeds, vectors and recordings contain anything.
DATA = re.compile(r'(^|/)(corpus|seeds|cases|data)/|^tests/(golden|conformance)/.*\.(json|jsonl|yaml|txt)$|^LICENSE$')

# Split, so that this file does not find itself.
PLACES = re.compile(r'(?<![\w.])/' + r'(?:work|home|root|workspace|workspaces|Users)/\w|(?<![\w.])/tmp/' + r'[A-Za-z]')
UNFINISHED = re.compile(r'\b(?:TO' + r'DO|FIX' + r'ME|XX' + r'X|HA' + r'CK)\b')
WIDTH = 120
LOCALE = re.compile(r'%[-+ #0]*[\d*]*(?:\.[\d*]*)?[aefgAEFG]')


def ours(path):
    return (path.endswith(TEXT) or SCRIPTS.match(path)) and not DATA.search(path)


def literals(text):
    """(line, inside) of each C string literal."""
    blank = re.sub(r'/\*.*?\*/', lambda m: '\n' * m.group(0).count('\n'), text, flags=re.S)
    for number, line in enumerate(blank.splitlines(), 1):
        for literal in re.finditer(r'"((?:[^"\\]|\\.)*)"', line):
            yield number, literal.group(1)


def main(root):
    found = {name: [] for name in ('no machine path', 'no white space at the end of a line', 'no tab in C',
                                   'no carriage return', 'a newline at the end of each file', 'C fits 128 columns',
                                   'nothing unfinished', 'no number format of the core follows the locale')}
    wide = 0
    for path in filter(ours, tree.files(root)):
        text = tree.read(root, path)
        code = path.endswith(('.c', '.h'))
        if text and not text.endswith('\n'):
            found['a newline at the end of each file'].append(path)
        for number, line in enumerate(text.split('\n'), 1):
            where = f'{path}:{number}'
            if PLACES.search(line) and not path.startswith('tests/'):
                found['no machine path'].append(f'{where}: {line.strip()[:80]}')
            elif re.search(r'(?<![\w.])/' + r'(?:work|root)/\w', line):
                found['no machine path'].append(f'{where}: {line.strip()[:80]}')
            if '\r' in line:
                found['no carriage return'].append(where)
            elif line != line.rstrip():
                found['no white space at the end of a line'].append(where)
            if code and '\t' in line:
                found['no tab in C'].append(where)
            if code and len(line) > WIDTH:
                wide += 1
                if len(line) > WIDTH + 8:
                    found['C fits 128 columns'].append(f'{where}: {len(line)}')
            if UNFINISHED.search(line):
                found['nothing unfinished'].append(f'{where}: {line.strip()[:80]}')
        if path.startswith('libllmd/') and code:
            found['no number format of the core follows the locale'] += [
                f'{path}:{n}: "{s[:60]}"' for n, s in literals(text) if LOCALE.search(s)]
    tap.note(f'{wide} lines of C are wider than {WIDTH} columns')
    for name, problems in found.items():
        tap.point(name, problems)
    tap.done()


if __name__ == '__main__':
    main(sys.argv[1])
