#!/usr/bin/env python3
"""Rooms and floors: who may include what.

    floors.py SOURCE_ROOT

A room of libllmd includes itself and rooms on lower floors; neighbours on one floor do not see each other. Guests see
public headers only. Each outside package has one file in a room that touches it. Sizes of functions and files are
printed as notes, never as failures.
"""
import os
import re
import sys

import tap
import tree

FLOORS = {'base': 1, 'model': 2, 'prefix': 2, 'topo': 2, 'plugin': 3, 'sched': 4, 'flow': 4, 'xfer': 4, 'pd': 5, 'uv': 6}

# Headers of the C language and library that do no I/O by themselves. What is called is checked by sections.py.
STANDARD = {'assert.h', 'errno.h', 'float.h', 'inttypes.h', 'limits.h', 'math.h', 'stdalign.h', 'stdarg.h', 'stdatomic.h',
            'stdbool.h', 'stddef.h', 'stdint.h', 'stdio.h', 'stdlib.h', 'stdnoreturn.h', 'string.h'}
INTRINSICS = {'emmintrin.h', 'arm_neon.h'}

# What belongs to which outside package. In libllmd each package is touched by one file.
PACKAGES = {'yaml.h': 'libyaml', 'xxhash.h': 'xxHash', 'uthash.h': 'uthash', 'dlfcn.h': 'the loader'}
# libllmd-uv does I/O: any header of the system and of libuv. Each other package has one file. Its sub-rooms have floors
# of their own; files that lie in uv/ itself are the lowest.
UV_PACKAGES = {'llhttp/llhttp.h': 'llhttp', 'curl/curl.h': 'libcurl', 'zmq.h': 'libzmq', 'ares.h': 'c-ares'}
UV_FLOORS = {'http': 1, 'fetch': 1, 'share': 1, 'service': 1, 'stats': 2, 'discover': 2, 'metrics': 2, 'events': 2, 'tokens': 2,
             'policy': 3, 'admin': 3, 'agent': 4, 'proxy': 4}
LOADER_ONLY = {'dirent.h', 'dlfcn.h', 'sys/stat.h', 'sys/types.h', 'unistd.h'}
LOADER = 'libllmd/plugin/module.c'

# Guests: the doors that a folder may use.
DOORS = {'plugins': {'llmd/plugin.h', 'llmd/backend.h'}}

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.M)


def includes(root, path):
    """(line, kind, name) of each include; kind is '<' or '"'."""
    text = tree.read(root, path)
    return [(text.count('\n', 0, m.start(1)) + 1, m.group(1), m.group(2)) for m in INCLUDE.finditer(text)]


def room_of(path):
    parts = path.split('/')
    return parts[1] if parts[0] == 'libllmd' and len(parts) > 2 else None


def check_room_include(root, path, name):
    """What is wrong with `#include "name"` in a file of a room, or None."""
    room, other = room_of(path), name.split('/')[0]
    if '/' not in name:
        return 'write it as "room/file.h"'
    if other not in FLOORS:
        return f'{other} is not a room'
    if not os.path.isfile(os.path.join(root, 'libllmd', name)):
        return 'there is no such file'
    if other != room and FLOORS[other] >= FLOORS[room]:
        return f'{room} is on floor {FLOORS[room]}, {other} on floor {FLOORS[other]}'
    return check_uv_include(path, name) if other == room == 'uv' else None


def check_uv_include(path, name):
    """What is wrong with `#include "uv/room/file.h"` in a file of libllmd/uv, or None."""
    here, there = path.split('/')[2:-1], name.split('/')[1:-1]
    for sub in here + there:
        if sub not in UV_FLOORS:
            return f'uv/{sub} is not a room of the plan'
    if not there or here == there:
        return None
    mine, other = UV_FLOORS[here[0]] if here else 0, UV_FLOORS[there[0]]
    return f'uv/{there[0]} is on floor {other}, {here[0] if here else "uv"} on floor {mine}' if other >= mine else None


def check_outside(path, name):
    """What is wrong with `#include <name>` in a file of libllmd, or None."""
    if name.startswith('llmd/') or name in STANDARD or name in INTRINSICS or room_of(path) == 'uv':
        return None
    if name in LOADER_ONLY:
        return None if path == LOADER else f'only {LOADER} may'
    return None if name in PACKAGES else 'not the C library, and no package that the core may use'


def rooms(root, paths):
    for room in sorted({room_of(p) for p in paths} - {None}):
        problems = []
        if room not in FLOORS:
            problems.append(f'libllmd/{room}: not a room of the plan')
        for path in paths if room in FLOORS else ():
            if room_of(path) != room:
                continue
            for line, kind, name in includes(root, path):
                wrong = check_room_include(root, path, name) if kind == '"' else check_outside(path, name)
                if wrong:
                    problems.append(f'{path}:{line}: {name}: {wrong}')
        tap.point(f'libllmd/{room} includes itself and lower floors', problems)


def packages(root, paths):
    for header, package in sorted({**PACKAGES, **UV_PACKAGES}.items()):
        users = [p for p in paths if p.startswith('libllmd/') and any(n == header for _, _, n in includes(root, p))]
        tap.point(f'one file touches {package}', users if len(users) > 1 else [])


def guests(root, paths):
    problems = []
    for path in paths:
        doors = DOORS.get(path.split('/')[0])
        if doors is None:
            continue
        for line, kind, name in includes(root, path):
            if name not in doors and (kind == '"' or name not in STANDARD):
                problems.append(f'{path}:{line}: {name}')
    tap.point('plugins include only <llmd/plugin.h> and the C library', problems)


def examples(root, paths):
    """Public headers, the system's, and what lies in the example's own folder."""
    problems, json_users = [], []
    for path in paths:
        if not path.startswith('examples/'):
            continue
        folder = os.path.dirname(path)
        for line, kind, name in includes(root, path):
            if kind == '<' and name.startswith('llmd/'):
                known = os.path.isfile(os.path.join(root, 'include', name))
                wrong = None if known else 'there is no such public header'
            elif kind == '<':
                wrong = None
                if name in ('cjson/cJSON.h', 'cJSON.h'):
                    json_users.append(path)
            else:
                inside = os.path.normpath(os.path.join(folder, name))
                wrong = None if inside in paths and inside.startswith('examples/') else 'not of this example'
            if wrong:
                problems.append(f'{path}:{line}: {name}: {wrong}')
    tap.point('examples include only public headers', problems)
    tap.point('one file touches cJSON', json_users if len(json_users) > 1 else [])


def public(root, paths):
    """Public headers stand on public headers and on what every C and C++ compiler has."""
    allowed = {'stddef.h', 'stdint.h'}
    problems = [f'{path}:{line}: {name}' for path in paths if path.startswith('include/')
                for line, kind, name in includes(root, path)
                if not (kind == '<' and (name in allowed or name.startswith('llmd/')))]
    tap.point('public headers include only <llmd/...>, <stddef.h> and <stdint.h>', problems)


def cycles(root, paths):
    graph = {}
    for path in paths:
        if path.endswith('.h') and path.split('/')[0] in ('libllmd', 'include'):
            graph[path] = {base + n for _, _, n in includes(root, path) for base in ('libllmd/', 'include/')}
    problems, state = [], {}

    def visit(path, trail):
        state[path] = 1
        for other in sorted(graph[path] & graph.keys()):
            if state.get(other) == 1:
                problems.append(' -> '.join(trail[trail.index(other):] + [other]))
            elif other not in state:
                visit(other, trail + [other])
        state[path] = 2

    for path in sorted(graph):
        if path not in state:
            visit(path, [path])
    tap.point('no header includes itself by a detour', problems)


def sizes(root, paths):
    """Notes: what a reader would call long."""
    lengths = []
    for path in paths:
        if not path.endswith('.c') or path.startswith('tests/'):
            continue
        lines = tree.without_comments(tree.read(root, path)).splitlines()
        if len(lines) > 500:
            tap.note(f'long file: {path}: {len(lines)} lines')
        start = None
        for i, line in enumerate(lines):
            if line == '{' and i and lines[i - 1].rstrip().endswith(')'):
                start = i
            elif line == '}' and start is not None:
                lengths.append(i - start - 1)
                if lengths[-1] > 60:
                    tap.note(f'long function: {path}:{start}: {lengths[-1]} lines')
                start = None
    if lengths:
        lengths.sort()
        tap.note(f'{len(lengths)} functions: median {lengths[len(lengths) // 2]} lines, '
                 f'90th percentile {lengths[len(lengths) * 9 // 10]}, longest {lengths[-1]}')


def main(root):
    paths = [p for p in tree.files(root) if p.endswith(('.c', '.h'))]
    rooms(root, paths)
    packages(root, paths)
    guests(root, paths)
    examples(root, set(paths))
    public(root, paths)
    cycles(root, paths)
    sizes(root, paths)
    tap.done()


if __name__ == '__main__':
    main(sys.argv[1])
