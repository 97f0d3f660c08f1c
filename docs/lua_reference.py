#!/usr/bin/env python3
"""Writes docs/lua-reference.md and lua/library/llmd.lua from the tables that the engine of Lua policies is made of.

    docs/lua_reference.py            write both
    docs/lua_reference.py --check    say which of them is out of date

lua/api.def has the functions, lua/names.def what policies can read by a short name, lua/words.def all else that stands
in a policy's text. tests/lint/docs.py checks that both are up to date.
"""
import os
import re
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
LUA = os.path.join(HERE, '..', 'lua')
PAGE = os.path.join(HERE, 'lua-reference.md')
STUBS = os.path.join(LUA, 'library', 'llmd.lua')
# Constants as C has them, in Lua.
VALUES = {'(double)NAN': '0 / 0', '(double)HUGE_VAL': '1 / 0', 'LUA_MAXINTEGER': '9223372036854775807',
          'LUA_MININTEGER': '-9223372036854775807 - 1'}
TOKEN = re.compile(r'\s+|"((?:[^"\\]|\\.)*)"|([(),])|([^\s"(),]+)', re.S)


# ---- the tables ------------------------------------------------------------------------------------------------------

def arguments(text, at):
    """Those of the macro whose "(" ends at `at`. Strings that touch are one; an argument may have brackets."""
    out, current, depth = [], '', 1
    while True:
        m = TOKEN.match(text, at)
        at = m.end()
        if m.group(1) is not None:
            current += m.group(1).replace('\\"', '"').replace('\\\\', '\\')
        elif m.group(2) and (depth > 1 or m.group(2) == '('):
            depth += (m.group(2) == '(') - (m.group(2) == ')')
            current += m.group(2)
        elif m.group(2):
            out.append(current)
            current = ''
            if m.group(2) == ')':
                return out
        elif m.group(3):
            current += m.group(3)


def rows(name):
    """(macro, arguments) of each row of a table, and ('section', title) of the comments between them."""
    with open(os.path.join(LUA, name), encoding='utf-8') as f:
        text = f.read()
    found = []
    for m in re.finditer(r'^(?:/\* (.*?) \*/$|([A-Z][A-Z_]*)\()', text, re.M):
        if m.group(1):
            found.append(('section', m.group(1)))
        else:
            found.append((m.group(2).replace('LLMD__LUA_', ''), arguments(text, m.end())))
    return found


def words(what):
    return [a for macro, a in rows('words.def') if macro == 'WORD_' + what]


def known():
    """(field, type, unit, doc, what it is in the pool) of each short name."""
    out = []
    for _, (field, kind, attribute, producer, unit, doc) in [r for r in rows('names.def') if r[0] == 'X']:
        kind_of = {'text': 'string', 'id': 'integer'}.get(unit, 'number')
        out.append((field, kind_of, unit, doc, '/'.join(x for x in (attribute, producer) if x)))
    return out


def split(text, separator=','):
    """At separators outside of brackets."""
    out, depth, current = [], 0, ''
    for c in text:
        depth += (c in '(<') - (c in ')>')
        if c == separator and not depth:
            out.append(current.strip())
            current = ''
        else:
            current += c
    return out + [current.strip()] if current.strip() else out


def signatures(text):
    """[(parameters, results)] of "(x: number, n?: integer): number or (): integer"."""
    out = []
    for one in text.split(' or ('):
        one = one if one.startswith('(') else '(' + one
        depth = 0
        for i, c in enumerate(one):
            depth += (c == '(') - (c == ')')
            if not depth:
                break
        parameters = [tuple(x.strip() for x in p.split(':', 1)) for p in split(one[1:i])]
        out.append((parameters, split(one[i + 1:].lstrip(': '))))
    return out


# ---- stubs -----------------------------------------------------------------------------------------------------------

def prose(doc):
    return doc[0].upper() + doc[1:] + '.'


def field(name, kind, doc):
    mark = '?' if kind.endswith('?') else ''
    return f'---@field {name}{mark} {kind[:-1] if mark else kind} {doc}'


def stub_class(name, about, fields):
    return [f'---{about}', f'---@class {name}'] + fields + ['']


def stub_function(path, signature, doc):
    (parameters, results), others = signatures(signature)[0], signatures(signature)[1:]
    out = ['---' + prose(doc)]
    out += [f'---@param {name} {kind}' for name, kind in parameters]
    out += [f'---@return {kind}' for kind in results]
    for more, back in others:
        inside = ', '.join(f'{name}: {kind}' for name, kind in more)
        out.append(f'---@overload fun({inside})' + (': ' + ', '.join(back) if back else ''))
    names = ', '.join(name.rstrip('?') for name, _ in parameters)
    return out + [f'function {path}({names}) end', '']


def stub_types():
    out = stub_class('llmd.Policy', 'What a policy\'s file returns.',
                     [field(n, k, d) for n, k, d in words('MODULE')] +
                     [f'---@field {n}? function ({args}) -> {result}: {doc}' for _, n, args, result, doc in words('VERB')])
    for name, what, about in (('Param', 'PARAM', 'A parameter that an operator may set.'),
                              ('Request', 'REQ', 'The request: `req`.'),
                              ('Run', 'RUN', 'What became of a profile: `runs[name]`.'),
                              ('Usage', 'USAGE', 'Tokens of a request: `usage`.'),
                              ('Example', 'EXAMPLE', 'A situation, and what must come out.')):
        out += stub_class(f'llmd.{name}', about, [field(*row) for row in words(what)])
    out += ['---What has happened to a request: `kind`.', '---@alias llmd.Kind']
    out += [f'---| "{name}" # {doc}' for _, name, doc in words('KIND')] + ['']
    rows_of = known()
    out += stub_class('llmd.Columns', 'One list per thing that is read, in the order of the endpoints: `cols`. '
                      'A NaN or "" is unknown.', ['---@field n integer number of endpoints'] +
                      [f'---@field {n} {k}[] {d} ({u})' for n, k, u, d, _ in rows_of] +
                      ['---@field [string] number[]|string[] what `reads` gives a name'])
    out += stub_class('llmd.Endpoint', 'One endpoint: `ep`, `eps[i]`. A NaN or "" is unknown.',
                      [f'---@field {n} {k} {d} ({u})' for n, k, u, d, _ in rows_of] +
                      ['---@field [string] number|string what `reads` gives a name'])
    return out


def stubs():
    out = ['---@meta', '-- What policies see, for editors. Made by docs/lua_reference.py; see .luarc.json beside this folder.',
           ''] + stub_types()
    made = set()
    for macro, row in rows('api.def'):
        if macro == 'BASE':
            out += stub_function(row[0], row[1], row[2])
        if macro not in ('FUNCTION', 'NUMBER', 'INTEGER'):
            continue
        table = row[0]
        if table not in made:
            made.add(table)
            out += [f'---@class {table.replace(".", "")}lib', f'{table} = {{}}', '']
            if table == 'string':
                out += ['---@class string: stringlib', '']
        if macro == 'FUNCTION':
            out += stub_function(f'{table}.{row[1]}', row[3], row[4])
        else:
            out += ['---' + prose(row[3]), f'{table}.{row[1]} = {VALUES.get(row[2], row[2])}', '']
    return '\n'.join(out).rstrip('\n') + '\n'


# ---- the page --------------------------------------------------------------------------------------------------------

def cell(text):
    return text.replace('|', '\\|').replace('<', '&lt;')


def code(text):
    return '`' + text.replace('|', '\\|') + '`' if text else ''


def grid(head, lines):
    out = ['| ' + ' | '.join(head) + ' |', '|' + '---|' * len(head)]
    return out + ['| ' + ' | '.join(line) + ' |' for line in lines] + ['']


def page_functions():
    out, section, lines = [], None, []
    for macro, row in rows('api.def') + [('section', None)]:
        if macro == 'section':
            if lines:
                out += ['### ' + section, ''] + lines + ['']
            section, lines = row, []
        elif macro == 'FUNCTION':
            lines += [f'- `{row[0]}.{row[1]}{one}`' + (f': {row[4]}' if k == 0 else '')
                      for k, one in enumerate(restored(row[3]))]
        elif macro == 'BASE':
            lines.append(f'- `{row[0]}{row[1]}`: {row[2]}')
        elif macro in ('NUMBER', 'INTEGER'):
            lines.append(f'- `{row[0]}.{row[1]}`: {row[3]}')
    return out


def restored(signature):
    return [s if s.startswith('(') else '(' + s for s in signature.split(' or (')]


def page():
    out = ['# Lua reference', '',
           'Made from the tables that the engine is made of by `docs/lua_reference.py`. How to write a policy, and why, '
           'says [lua.md](lua.md); editors read the same from `lua/library/llmd.lua`.', '',
           'A number that is NaN, a text that is `""` and `nil` are *unknown*: none of the functions below makes anything '
           'better by it.', '',
           '## What a policy returns', '']
    out += grid(['field', 'type', 'what it is'], [[code(n), code(k), cell(d)] for n, k, d in words('MODULE')])
    out += ['A parameter is a default, or a table:', '']
    out += grid(['field', 'type', 'what it is'], [[code(n), code(k), cell(d)] for n, k, d in words('PARAM')])
    out += ['Verbs are functions. The names of their parameters say what they want, in any order; usual ones are:', '']
    out += grid(['verb', 'parameters', 'returns', 'what it does'],
                [[code(n), code(args), code(r), cell(d)] for _, n, args, r, d in words('VERB')])
    out += ['## What functions get', '',
            'A function that asks for none of `cols`, `eps`, `out`, `keep`, `total` is called once per endpoint: every other '
            'name is a value of that endpoint (`function(p, kv_usage, waiting)`), and what it returns is the result.', '']
    out += grid(['parameter', 'type', 'what it is'], [[code(n), code(k), cell(d)] for _, n, k, d in words('ARG')])
    out += ['### req', '']
    out += grid(['field', 'type', 'what it is'], [[code('req.' + n), code(k), cell(d)] for n, k, d in words('REQ')])
    out += ['### runs, kind, usage', '']
    out += grid(['field', 'type', 'what it is'],
                [[code('runs[name].' + n), code(k), cell(d)] for n, k, d in words('RUN')] +
                [[code('usage.' + n), code(k), cell(d)] for n, k, d in words('USAGE')])
    out += grid(['kind', 'what has happened'], [[code(f'"{n}"'), cell(d)] for _, n, d in words('KIND')])
    out += ['## What can be read', '', 'By a short name, in `reads = {"waiting"}` or as a parameter of a function that is '
            'called once per endpoint:', '']
    out += grid(['name', 'unit', 'what it is', 'attribute'], [[code(n), cell(u), cell(d), code(a)]
                                                              for n, _, u, d, a in known()])
    out += ['Anything else by a longer one. `reads = {zone = "label:zone"}` shows as `cols.zone`; without a name of its own '
            'it is called what stands behind the colon.', '']
    out += grid(['form', 'shows', 'what it is'], [[code(n), cell(k), cell(d)] for n, k, d in words('READ')])
    out += ['## Examples in a policy', '',
            '`examples` is a list of tables; `llmd policy check` runs them, and so does whoever swaps a policy in.', '']
    out += grid(['field', 'type', 'what it is'], [[code(n), code(k), cell(d)] for n, k, d in words('EXAMPLE')])
    out += ['## Functions', '',
            'There is nothing else: no patterns, no coroutines, no metatables, no files. Texts are at most 16384 bytes long. '
            'Functions charge the budget for the work that they do. A list\'s length is `#list` unless `n` is given. Nothing '
            'is converted: `"10"` is no number, and 10 is no text.', '']
    return '\n'.join(out + page_functions()).rstrip('\n') + '\n'


def stale():
    """Names of the files that are not what this makes."""
    out = []
    for path, text in ((PAGE, page()), (STUBS, stubs())):
        have = open(path, encoding='utf-8').read() if os.path.exists(path) else None
        if have != text:
            out.append(os.path.relpath(path, os.path.join(HERE, '..')) + ': run docs/lua_reference.py')
    return out


if __name__ == '__main__':
    if sys.argv[1:] == ['--check']:
        sys.exit('\n'.join(stale()) or 0)
    elif not sys.argv[1:]:
        for where, made in ((PAGE, page()), (STUBS, stubs())):
            with open(where, 'w', encoding='utf-8') as out_file:
                out_file.write(made)
    else:
        sys.exit(__doc__)
