#!/usr/bin/env python3
"""Every public header compiles alone, included twice, as strangers compile it.

    headers.py INCLUDE_DIR

gcc and clang, C11, C17 and C++17 under strict warnings, and C under nginx's flags. The umbrella holds every header of
the embedders' door.
"""
import concurrent.futures
import os
import shutil
import subprocess
import sys
import tempfile

import tap

STRICT = ['-Wall', '-Wextra', '-Wpedantic', '-Wconversion', '-Wshadow', '-Wundef', '-Werror']
NGINX = ['-W', '-Wall', '-Wpointer-arith', '-Werror']
WAYS = [(compiler, language, flags)
        for c, cxx in (('gcc', 'g++'), ('clang', 'clang++'))
        for compiler, language, flags in (
            (c, 'c', ['-std=c11', '-Wstrict-prototypes'] + STRICT),
            (c, 'c', ['-std=c17', '-Wstrict-prototypes'] + STRICT),
            (c, 'c', NGINX),
            (cxx, 'c++', ['-std=c++17'] + STRICT))]
EXTENDERS = {'plugin.h', 'backend.h', 'loader.h', 'uv.h', 'http.h', 'llmd.h'}


def compile_alone(include, header, way, folder):
    """What the compiler says, '' when it is content."""
    compiler, language, flags = way
    source = os.path.join(folder, header + ('.c' if language == 'c' else '.cc'))
    run = subprocess.run([compiler, '-x', language] + flags + ['-I', include, '-fsyntax-only', source],
                         stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True, check=False)
    return '' if run.returncode == 0 else run.stdout or f'exit code {run.returncode}'


def main(include):
    headers = sorted(h for h in os.listdir(os.path.join(include, 'llmd')) if h.endswith('.h'))
    with tempfile.TemporaryDirectory() as folder, \
            concurrent.futures.ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        for header in headers:
            for end in ('.c', '.cc'):
                with open(os.path.join(folder, header + end), 'w', encoding='ascii') as f:
                    f.write(f'#include <llmd/{header}>\n' * 2 + 'extern int llmd_header_alone;\n')
        for way in WAYS:
            name = ' '.join([way[0]] + way[2][:1] + (['as nginx'] if way[2] is NGINX else []))
            if not shutil.which(way[0]):
                tap.point(name, skip='needs ' + way[0])
                continue
            said = pool.map(lambda h, w=way: compile_alone(include, h, w, folder), headers)
            tap.point(f'{name}: {len(headers)} headers alone',
                      [line for text in said for line in text.splitlines()] if headers else ['no headers'])
    with open(os.path.join(include, 'llmd', 'llmd.h'), encoding='utf-8') as f:
        umbrella = f.read()
    tap.point('llmd.h includes every header for embedders',
              [h for h in headers if h not in EXTENDERS and f'<llmd/{h}>' not in umbrella])
    tap.done()


if __name__ == '__main__':
    main(sys.argv[1])
