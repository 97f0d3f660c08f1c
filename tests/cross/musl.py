#!/usr/bin/env python3
"""The library, its modules, examples/hello and the golden records with musl as the C library.

    musl.py MACHINE SOURCE_ROOT BUILD_ROOT       MACHINE: x86_64 or aarch64

Compiles once more what BUILD_ROOT compiles, with the same options, against musl's headers; links it with musl and runs
it (aarch64 under qemu). Debian has no libyaml for musl: the static one of glibc does, with one name filled in.
"""
import concurrent.futures
import glob
import json
import os
import shlex
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lint'))
import tap  # noqa: E402

# glibc's checked sprintf, which only libyaml's writer calls; we only read.
SHIM = '''#include <stdlib.h>
int __sprintf_chk(char *, int, unsigned long, const char *, ...);
int __sprintf_chk(char *to, int flag, unsigned long size, const char *format, ...)
{
  (void)to, (void)flag, (void)size, (void)format;
  abort();
}
'''
LIBRARY = ('libllmd/libllmd.so', 'libllmd/libllmd-builtin.a')  # the outputs whose objects make the library
PROGRAMS = ('examples/hello/hello', 'tests/golden/golden', 'tests/plugins/types_of')


class Room:
    """Where things are: the compiler for MACHINE with musl, the runner, a folder of our own."""

    def __init__(self, machine, source, build):
        self.source, self.build = source, build
        self.here = os.path.join(build, 'musl-' + machine)
        self.headers = f'/usr/include/{machine}-linux-musl'
        self.yaml = f'/usr/lib/{machine}-linux-gnu/libyaml.a'
        self.gcc = machine + '-linux-gnu-gcc'
        self.runner = [] if os.uname().machine == machine else ['qemu-' + machine]
        self.specs = glob.glob('/usr/lib/*-linux-musl/musl-gcc.specs')

    def missing(self):
        paths = [self.headers + '/stdio.h', self.yaml]
        tools = [self.gcc] + self.runner
        return ([p for p in paths if not os.path.exists(p)] + [t for t in tools if not shutil.which(t)] +
                ([] if self.specs else ['musl-tools']))

    def furnish(self, machine):
        """Specs of this machine made from those that musl-tools has; of glibc's headers only libyaml's and xxHash's."""
        shutil.rmtree(self.here, ignore_errors=True)
        os.makedirs(os.path.join(self.here, 'include'))
        for name in ('yaml.h', 'xxhash.h'):
            os.symlink(os.path.join('/usr/include', name), os.path.join(self.here, 'include', name))
        with open(self.specs[0], encoding='utf-8') as f:
            text = f.read()
        theirs = os.path.basename(os.path.dirname(self.specs[0])).split('-')[0]
        specs = os.path.join(self.here, 'musl.specs')
        with open(specs, 'w', encoding='utf-8') as f:
            f.write(text.replace(theirs, machine))
        self.cc = [self.gcc, '-specs', specs, '-isystem', os.path.join(self.here, 'include')]
        if machine == 'aarch64':  # the compiler is glibc's: its outlined atomics ask glibc for the processor's features
            self.cc.append('-mno-outline-atomics')

    def run(self, command, **more):
        """Exit code and lines of a command."""
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True,
                              errors='replace', check=False, **more)
        return done.returncode, done.stdout.splitlines()

    def compile(self, entry):
        """Object and complaints of one entry of compile_commands.json."""
        command = shlex.split(entry['command'])
        out = os.path.join(self.here, entry['output'])
        os.makedirs(os.path.dirname(out), exist_ok=True)
        kept, skip = [], False
        for word in command[1:]:
            if not skip and word not in ('-MD', '-MQ', '-MF', '-o'):
                kept.append(word)
            skip = word in ('-MQ', '-MF', '-o')
        code, lines = self.run(self.cc + kept + ['-o', out], cwd=self.build)
        return out, lines[:20] if code else []

    def link(self, name, *words):
        code, lines = self.run(self.cc + ['-Wl,--no-undefined', '-o', os.path.join(self.here, name)] + list(words))
        return lines[:20] if code else []


def of_target(entry):
    return entry['output'].split('.p/')[0]


def wanted(entry):
    target = of_target(entry)
    return target.startswith(LIBRARY + ('plugins/',)) or target in PROGRAMS


def compile_all(room):
    """Objects by target. One point for each part of the tree."""
    with open(os.path.join(room.build, 'compile_commands.json'), encoding='utf-8') as f:
        entries = [e for e in json.load(f) if wanted(e)]
    objects, problems = {}, []
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for entry, (out, lines) in zip(entries, pool.map(room.compile, entries)):
            objects.setdefault(of_target(entry), []).append(out)
            problems += lines
    tap.point(f'{len(entries)} files compile', problems or ([] if entries else ['nothing to compile']))
    return objects, not problems and bool(entries)


def link_all(room, objects):
    shim = os.path.join(room.here, 'shim.c')
    with open(shim, 'w', encoding='utf-8') as f:
        f.write(SHIM)
    inner = [o for target, some in objects.items() if target.startswith(LIBRARY) for o in some]
    version = '-Wl,--version-script=' + os.path.join(room.source, 'libllmd', 'llmd.map')
    problems = room.link('libllmd.so', '-shared', '-fPIC', version, *inner, shim, room.yaml)
    for target in PROGRAMS:
        problems += room.link(os.path.basename(target), *objects[target], '-L' + room.here, '-lllmd',
                              '-Wl,-rpath=' + room.here)
    modules = [t for t in objects if t.startswith('plugins/')]
    for target in modules:
        problems += room.link(os.path.basename(target), '-shared', *objects[target])
    tap.point(f'library, {len(PROGRAMS)} programs and {len(modules)} modules link', problems)
    return [os.path.join(room.here, os.path.basename(m)) for m in modules], not problems


def run_all(room, modules):
    golden = [os.path.join(room.here, 'golden'), os.path.join(room.source, 'tests', 'golden')]
    code, lines = room.run(room.runner + golden)
    wrong = [line for line in lines if not line.startswith(('ok', '1..'))]
    points = sum(line.startswith('ok') for line in lines)
    tap.point(f'{points} golden records replay', wrong or (['ended with %d' % code] if code or not points else []))

    files = [os.path.join(room.source, 'examples', 'hello', name) for name in ('policy.yaml', 'pool.yaml', 'chat.json')]
    code, lines = room.run(room.runner + [os.path.join(room.here, 'hello')] + files)
    tap.point('hello decides', lines if code or not any('routed to default/beta' in line for line in lines) else [])

    if not modules:
        tap.point('modules', skip='needs option plugins=true')
        return
    script = os.path.join(room.source, 'tests', 'plugins', 'modules.py')
    code, lines = room.run([sys.executable, script, os.path.join(room.here, 'types_of')] + modules,
                           env=dict(os.environ, MESON_EXE_WRAPPER=' '.join(room.runner)))
    tap.point(f'{len(modules)} modules load', [line for line in lines if not line.startswith('ok')] if code else [])


def main(machine, source, build):
    room = Room(machine, os.path.abspath(source), os.path.abspath(build))
    missing = room.missing()
    if missing:
        tap.point('musl on ' + machine, skip='needs ' + ', '.join(missing))
        tap.done()
    room.furnish(machine)
    objects, well = compile_all(room)
    if well:
        modules, well = link_all(room, objects)
    if well:
        run_all(room, modules)
    tap.done()


if __name__ == '__main__':
    main(*sys.argv[1:])
