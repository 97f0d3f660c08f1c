#!/usr/bin/env python3
"""The built-in plugins as a stranger would ship them: each module exports llmd_module and nothing else, wants nothing of
ours, writes no global, and no type is in two modules.

    modules.py HARNESS MODULE.so...

HARNESS is a program that is given a module and prints its plugin types, one per line.
"""
import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lint'))
import tap  # noqa: E402

# Start files of the compiler and sanitizers' own names.
NOT_OURS = re.compile(r'^(_init|_fini|_end|_edata|__bss_start|__(asan|ubsan|tsan|lsan|sanitizer|odr_asan)\w*)$')
WANTED_OF_OURS = re.compile(r'^_*llmd')
MATH = re.compile(r'^(exp|log|pow|sin|cos|tan|sqrt|cbrt|hypot|tgamma|erf)\w*$')


def symbols(module, *options):
    out = subprocess.run(['nm', '-D', *options, module], stdout=subprocess.PIPE, check=True, universal_newlines=True)
    return [line.split()[-1].split('@')[0] for line in out.stdout.splitlines() if line.split()]


def check_symbols(module):
    exported = [s for s in symbols(module, '--defined-only') if not NOT_OURS.match(s)]
    wanted = symbols(module, '--undefined-only')
    problems = []
    if exported != ['llmd_module']:
        problems.append('exports ' + ', '.join(exported))
    problems += [f'wants {s} of the library' for s in wanted if WANTED_OF_OURS.match(s)]
    problems += [f'wants {s}, which differs between machines' for s in wanted if MATH.match(s)]
    return problems


def types_of(harness, module):
    run = subprocess.run(tap.program(harness) + [module], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                         universal_newlines=True)
    if run.returncode:
        return [], [f'cannot be loaded: {run.stdout.strip()}']
    return run.stdout.split(), []


def main(harness, modules):
    home = {}
    if not modules:
        tap.point('modules', skip='needs option plugins=true')
    for module in modules:
        name = os.path.basename(module)
        problems = check_symbols(module)
        types, faults = types_of(harness, module)
        problems += faults
        problems += [f'{t} is in {home[t]} too' for t in types if t in home]
        if not types and not faults:
            problems.append('has no plugin')
        home.update((t, name) for t in types)
        tap.point(name, problems)
    tap.done()


main(sys.argv[1], sys.argv[2:])
