#!/usr/bin/env python3
"""The ABI of the build against the baseline of the last release.

    abi.py compare SOURCE_ROOT LIBLLMD.so DOORS.so [LIBLLMD-UV.so]     as a test
    abi.py update  SOURCE_ROOT LIBLLMD.so DOORS.so LIBLLMD-UV.so       write the baseline (tests/abi/update calls it)

What may change: new functions, new constants, and fields at the end of a struct that begins with `size`. Four files hold
the baseline: embed.abi (the library), extend.abi (doors.c: the types of plugin.h), io.abi (libllmd-uv), constants.txt
(numbers and strings of the public macros, error codes included, which no debug information shows).
"""
import os
import re
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lint'))
import tap  # noqa: E402

HERE = os.path.join('tests', 'abi')
VOLATILE = re.compile(r'^LLMD_(VERSION\w*|E_LAST)$')

# Lines of abidiff that only say where in the graph of types one is.
NEUTRAL = re.compile(r"""^\s*(
    | Functions\ changes\ summary:.* | Variables\ changes\ summary:.*
    | \d+\ (Added\ function|function).*: | \[A\]\ .* | \[C\]\ 'function.*\ has\ some\ (indirect\ )?sub-type\ changes:
    | (parameter\ \d+\ of|return|underlying|in\ unqualified\ underlying|in\ pointed\ to|array\ element|in)\ .*:?
    | type\ of\ '.*'\ changed: | \d+\ data\ member\ changes?(\ \(\d+\ filtered\))?: | .*\ was\ already\ reported .*
    | no\ data\ member\ change.* | type\ size\ hasn't\ changed | and\ .*
    )$""", re.X)
STRUCT = re.compile(r"type 'struct (\w+)'(?: at [^ ]+)? changed:")
SIZE = re.compile(r'type size changed from (\d+) to \d+ \(in bits\)')
INSERTIONS = re.compile(r'\d+ data member insertions?:')
INSERTION = re.compile(r"'.*', at offset (\d+) \(in bits\)")


def run(*command):
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True, check=False)


def growable(baseline):
    """Structs whose first field is `size`: only they may grow."""
    with open(baseline, encoding='utf-8') as f:
        text = f.read()
    return set(re.findall(r"<class-decl name='(\w+)'[^>]*>\s*<data-member[^>]*layout-offset-in-bits='0'>\s*"
                          r"<var-decl name='size'", text))


def incompatible(report, may_grow):
    """The lines of abidiff's report that break somebody."""
    found, struct, old_size = [], '', 0
    for line in report.splitlines():
        named, size, insertion = STRUCT.search(line), SIZE.search(line), INSERTION.search(line)
        if named:
            struct, old_size = named.group(1), 0
        elif size and struct in may_grow:
            old_size = int(size.group(1))
        elif size:
            found.append(f'{line.strip()}: struct {struct} does not begin with size' if struct else line.strip())
        elif insertion:
            if struct not in may_grow or not old_size or int(insertion.group(1)) < old_size:
                found.append(f'struct {struct}: {line.strip()}: not at the end')
        elif not NEUTRAL.match(line) and not INSERTIONS.search(line):
            found.append(line.strip())
    return found


def constants(root):
    """{macro or error code: value} of what the public headers define as a number or a string."""
    folder = os.path.join(root, 'include', 'llmd')
    found = {}
    for name in sorted(os.listdir(folder)):
        with open(os.path.join(folder, name), encoding='utf-8') as f:
            text = f.read()
        for key, value in re.findall(r'^#define (LLMD_\w+) ("[^"\n]*"|-?(?:0x)?[0-9a-fA-F]+u?(?:ll)?)(?=\s|$)', text, re.M):
            found[key] = value
        for code, value in re.findall(r'^\s*X\((\w+), (-\d+),', text, re.M):
            found['LLMD_E_' + code] = value
    return {k: v for k, v in found.items() if not VOLATILE.match(k)}


def abidw(root, library, out):
    return run('abidw', '--headers-dir', os.path.join(root, 'include', 'llmd'), '--drop-private-types', '--no-corpus-path',
               '--no-comp-dir-path', '--short-locs', '--out-file', out, library)


def compare_one(root, baseline, library):
    result = run('abidiff', '--suppressions', os.path.join(root, HERE, 'private.suppr'),
                 '--headers-dir2', os.path.join(root, 'include', 'llmd'), baseline, library)
    if result.returncode & 3:
        return ['abidiff failed: ' + result.stdout]
    problems = incompatible(result.stdout, growable(baseline))
    if problems or result.returncode & 8 and not result.stdout:
        return problems + ['', 'the whole report:'] + result.stdout.splitlines()
    return []


def compare_constants(root):
    with open(os.path.join(root, HERE, 'constants.txt'), encoding='utf-8') as f:
        old = dict(line.rstrip('\n').split(' ', 1) for line in f)
    new = constants(root)
    return [f'{k}: {v} before, now {new.get(k, "gone")}' for k, v in sorted(old.items()) if new.get(k) != v]


def reason_to_skip(root, library):
    if not shutil.which('abidiff'):
        return 'needs abigail-tools'
    baseline = os.path.join(root, HERE, 'embed.abi')
    if not os.path.exists(baseline):
        return 'no baseline yet (tests/abi/update makes it)'
    with open(baseline, encoding='utf-8') as f:
        built_for = re.search(r"architecture='elf-(\w+)-", f.readline())
    machine = {'x86_64': 'amd', 'aarch64': 'arm'}.get(os.uname().machine, os.uname().machine)
    if built_for and built_for.group(1) != machine:
        return f'the baseline is of another machine ({built_for.group(1)})'
    if '.debug_info' not in run('readelf', '-SW', library).stdout:
        return 'needs a build with debug information'
    return None


def compare(root, library, doors, uv_library=None):
    why = reason_to_skip(root, library)
    for name, file, subject in (('embedders', 'embed.abi', library), ('extenders', 'extend.abi', doors),
                                ('libllmd-uv', 'io.abi', uv_library)):
        title = f'the ABI of {name} has only grown'
        if why or not subject:
            tap.point(title, skip=why or 'needs the libraries of libllmd-uv')
        elif not os.path.exists(os.path.join(root, HERE, file)):
            tap.point(title, skip='no baseline yet (tests/abi/update makes it)')
        else:
            tap.point(title, compare_one(root, os.path.join(root, HERE, file), subject))
    if os.path.exists(os.path.join(root, HERE, 'constants.txt')):
        tap.point('constants keep their values', compare_constants(root))
    else:
        tap.point('constants keep their values', skip='no baseline yet (tests/abi/update makes it)')
    tap.done()


def update(root, library, doors, uv_library):
    for file, subject in (('embed.abi', library), ('extend.abi', doors), ('io.abi', uv_library)):
        path = os.path.join(root, HERE, file)
        result = abidw(root, subject, path)
        if result.returncode:
            sys.exit(result.stdout)
        print(f'{path}: {os.path.getsize(path)} bytes')
    with open(os.path.join(root, HERE, 'constants.txt'), 'w', encoding='utf-8') as f:
        f.writelines(f'{k} {v}\n' for k, v in sorted(constants(root).items()))


if __name__ == '__main__':
    {'compare': compare, 'update': update}[sys.argv[1]](*sys.argv[2:])
