#!/usr/bin/env python3
"""What is inside the library that was built: no writable global, no call out of the core, one family of names.

    sections.py LIBLLMD.a LIBLLMD.so INCLUDE_DIR [LIBLLMD-UV.so]

The archive shows each object file by itself, so a finding names the file; the shared object shows what is exported.
Relocated read-only tables (.data.rel.ro) are fine: nothing writes to them after start.
"""
import os
import re
import subprocess
import sys

import tap

WRITABLE = re.compile(r'^(\.data(?!\.rel\.ro)|\.bss|\.tdata|\.tbss|\.init_array|\.ctors|COMMON|\*COM\*)')
# Put into every shared object by the compiler's own start files.
CRT = {'__dso_handle', 'completed.0', '__TMC_END__', '_edata', '_end', '__bss_start', '__data_start', '_DYNAMIC',
       '__init_array_start', '__frame_dummy_init_array_entry', '__do_global_dtors_aux_fini_array_entry',
       '.data', '.bss', '.init_array', '.tdata', '.tbss'}

# What libllmd may call. Pure functions of the C library, exact arithmetic, and the compiler's helpers.
PURE = re.compile(
    r'^(mem(cpy|move|set|cmp|chr|rchr|mem)|str(len|nlen|cmp|ncmp|chr|rchr|str|spn|cspn|pbrk)|bsearch|rawmemchr|bcmp'
    r'|snprintf|vsnprintf|__assert_fail|__errno_location'
    r'|__(mem|str|sn|vsn)\w*_chk|__stack_chk_fail|_GLOBAL_OFFSET_TABLE_'
    r'|(fabs|floor|ceil|trunc|rint|nearbyint|round|lround|llround|fmod|frexp|ldexp|scalbn|copysign|nextafter|sqrt)f?'
    r'|__\w+[sdt]i[234]|__aarch64_\w+|__popcount\w+)$')
SPECIAL = {
    # one file each: the default allocator, the configuration's reader, the loader
    'base/alloc.c': re.compile(r'^(malloc|realloc|calloc|free)$'),
    'base/yaml.c': re.compile(r'^yaml_\w+$'),
    'plugin/module.c': re.compile(r'^(dlopen|dlsym|dlerror|lstat|geteuid|opendir|readdir|closedir)(64)?$'),
}


def lines_of(*command):
    return subprocess.run(command, stdout=subprocess.PIPE, check=True, universal_newlines=True).stdout.splitlines()


def objects(archive):
    """{object name: [(section, symbol, size)]} from the symbol tables."""
    found, name = {}, None
    for line in lines_of('objdump', '-t', archive):
        head = re.match(r'^(\S.*?):\s+file format', line)
        row = re.match(r'^[0-9a-f]+ .{7} (\S+)\s+([0-9a-f]+)\s+(?:\.hidden |\.protected |\.internal )?(\S+)$', line)
        if head:
            name = head.group(1).split('(')[-1].rstrip(')')
            found[name] = []
        elif row and name:
            found[name].append((row.group(1), row.group(3), int(row.group(2), 16)))
    return found


def section_sizes(archive):
    """(object, section, size) of every section with bytes in it."""
    name = None
    for line in lines_of('objdump', '-h', archive):
        head = re.match(r'^(\S.*?):\s+file format', line)
        row = re.match(r'^\s*\d+\s+(\S+)\s+([0-9a-f]+)', line)
        if head:
            name = head.group(1).split('(')[-1].rstrip(')')
        elif row and int(row.group(2), 16):
            yield name, row.group(1), int(row.group(2), 16)


def source_of(obj):
    """base_alloc.c.o, as meson names it, is base/alloc.c."""
    return re.sub(r'\.o$', '', obj).replace('_', '/', 1)


def writable(archive, symbols):
    problems = []
    for obj, section, size in section_sizes(archive):
        if WRITABLE.match(section):
            names = [s for sec, s, n in symbols.get(obj, ()) if sec == section and not s.startswith('.')]
            problems.append(f'{obj}: {section}: {size} bytes: {" ".join(names)}')
    problems += [f'{obj}: {s}: common' for obj, rows in symbols.items() for sec, s, _ in rows if sec == '*COM*']
    tap.point('libllmd.a: no writable global, no constructor', problems)


def writable_shared(shared):
    problems = [f'{section}: {symbol}' for rows in objects(shared).values() for section, symbol, _ in rows
                if WRITABLE.match(section) and symbol not in CRT]
    tap.point('libllmd.so: no writable global but the start files\' own', problems)


def calls(symbols):
    defined = {s for rows in symbols.values() for sec, s, _ in rows if sec != '*UND*'}
    users = {}
    for obj, rows in symbols.items():
        for section, symbol, _ in rows:
            if section == '*UND*' and symbol not in defined:
                users.setdefault(symbol, set()).add(source_of(obj))
    problems, special = [], {name: set() for name in SPECIAL}
    for symbol, sources in sorted(users.items()):
        for source in sorted(sources):
            extra = SPECIAL.get(source)
            if extra and extra.match(symbol):
                special[source].add(symbol)
            elif not PURE.match(symbol):
                problems.append(f'{source} calls {symbol}')
    tap.point('no clock, thread, socket or file call, no printing, no locale, no allocation past the allocator', problems)
    for source, names in special.items():
        tap.note(f'{source} alone calls: {" ".join(sorted(names)) or "nothing"}')


UV_HEADERS = {'uv.h', 'http.h'}  # what libllmd-uv has; all others are libllmd's


def declared(include, of_uv):
    """Names marked LLMD_API in the public headers of one of the two libraries."""
    names = set()
    folder = os.path.join(include, 'llmd')
    for header in os.listdir(folder):
        if (header in UV_HEADERS) != of_uv:
            continue
        with open(os.path.join(folder, header), encoding='utf-8') as f:
            text = re.sub(r'/\*.*?\*/|^[ \t]*#.*?(?<!\\)$', ' ', f.read(), flags=re.S | re.M)
        names |= set(re.findall(r'\bLLMD_API\b[^;{]*?\b(\w+)\s*(?:\([^;]*\))?\s*(?:\[[^;]*\])?;', text))
    return names


def exports(shared, include, library):
    names, of_uv = set(), library == 'libllmd-uv'
    for line in lines_of('nm', '-D', '--defined-only', shared):
        kind, name = line.split()[-2:]
        if kind != 'A':
            names.add(name.split('@')[0])
    tap.point(f'{library}.so exports llmd_ names only', sorted(n for n in names if not re.match(r'^llmd_[a-z0-9]', n)))
    tap.point(f'what {library}.so exports is declared in a public header', sorted(names - declared(include, of_uv)))
    tap.point(f'what a public header declares {library}.so exports', sorted(declared(include, of_uv) - names))
    soname = re.findall(r'SONAME.*\[(.*)\]', '\n'.join(lines_of('readelf', '-dW', shared)))
    tap.point(f'the soname is {library}.so.0', [] if soname == [f'{library}.so.0'] else soname or ['none'])


def main(archive, shared, include, uv_shared=None):
    symbols = objects(archive)
    if not symbols:
        tap.point('libllmd.a has objects', [archive])
        tap.done()
    writable(archive, symbols)
    writable_shared(shared)
    calls(symbols)
    exports(shared, include, 'libllmd')
    if uv_shared:
        exports(uv_shared, include, 'libllmd-uv')
    tap.done()


if __name__ == '__main__':
    main(*sys.argv[1:])
