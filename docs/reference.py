#!/usr/bin/env python3
"""Writes docs/reference.md from the comments of the public headers.

    docs/reference.py            write it
    docs/reference.py --stdout   print it

A comment belongs to the declarations that follow it without an empty line. `/* ---- title ---- */` opens a section.
tests/lint/docs.py checks that the page is up to date and that no exported function lacks a comment.
"""
import os
import re
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
INCLUDE = os.path.join(HERE, '..', 'include', 'llmd')
PAGE = os.path.join(HERE, 'reference.md')
# In reading order; a header that is not named here comes after these.
ORDER = ['llmd.h', 'types.h', 'error.h', 'version.h', 'alloc.h', 'log.h', 'region.h', 'pool.h', 'request.h', 'scheduler.h',
         'metrics.h', 'plugin.h']
SECTION = re.compile(r'^/\* -{3,} (.*?) -{3,} \*/$')
NOISE = re.compile(r'^(LLMD_BEGIN|LLMD_END|#\s*define LLMD_(BEGIN|END|API)\b.*'
                   r'|#\s*(include|ifdef|ifndef|if|else|elif|endif|undef)\b.*)$')


class Item:
    """A comment and the declarations under it."""

    def __init__(self, comment=''):
        self.comment = comment
        self.code = []

    def functions(self):
        text = '\n'.join(self.code)
        text = re.sub(r'/\*.*?\*/', ' ', text, flags=re.S)
        text = re.sub(r'^[ \t]*#.*?(?<!\\)$', ' ', text, flags=re.S | re.M)
        return re.findall(r'\bLLMD_API\b[^;{(]*?\b(\w+)\s*\(', text)

    def names(self):
        text = '\n'.join(self.code)
        types = re.findall(r'^\} (\w+);', text, re.M)
        types += re.findall(r'^typedef [^;{]*?(?:\(\*)*(\w+)\)?(?:\([^;{]*\))?;', text, re.M)
        inline = re.findall(r'^static inline [^;{(]*?\b(\w+)\(', text, re.M)
        seen = []
        for name in types + self.functions() + inline:
            if name not in seen:
                seen.append(name)
        return seen


def take_comment(lines, i):
    """The comment that begins at line i and the index after it."""
    end = i
    while '*/' not in lines[end]:
        end += 1
    return '\n'.join(lines[i:end + 1]), end + 1


def take_declaration(lines, i):
    """One declaration, macro or inline function; the index after it."""
    end = i
    if lines[i].startswith('#'):
        while lines[end].endswith('\\'):
            end += 1
        return lines[i:end + 1], end + 1
    depth = 0
    while True:
        line = re.sub(r'/\*.*?\*/|"(?:[^"\\]|\\.)*"|\'(?:[^\'\\]|\\.)*\'', '', lines[end])
        depth += line.count('{') - line.count('}')
        closed = depth == 0 and (line.rstrip().endswith(';') or line.rstrip() == '}')
        if closed or end + 1 >= len(lines):
            return lines[i:end + 1], end + 1
        end += 1


def skip_else(lines, i):
    """Of two branches the reader needs one: from #else to #endif nothing is kept."""
    depth = 1
    while depth and i < len(lines):
        if re.match(r'#\s*if', lines[i]):
            depth += 1
        elif re.match(r'#\s*endif', lines[i]):
            depth -= 1
        i += 1
    return i


def parse(text):
    """Head comment, then a list of Items and section titles."""
    lines = text.splitlines()
    head, i = take_comment(lines, 0)
    parts, item = [], None
    while i < len(lines):
        line = lines[i]
        title = SECTION.match(line)
        if title:
            parts.append(title.group(1))
            item, i = None, i + 1
        elif not line.strip():
            item, i = None, i + 1
        elif re.match(r'#\s*(else|elif)', line):
            item, i = None, skip_else(lines, i + 1)
        elif NOISE.match(line) or re.match(r'#\s*define LLMD_\w+_H$', line):
            i += 1
        elif line.startswith('/*'):
            comment, i = take_comment(lines, i)
            item = Item(comment)
            parts.append(item)
        else:
            if item is None:
                item = Item()
                parts.append(item)
            code, i = take_declaration(lines, i)
            item.code += code
    return head, parts


def prose(comment):
    """Markdown of a comment: indented runs stay as drawn, the rest flows."""
    body = re.sub(r'^/\*+ ?|\s*\*/$', '', comment)
    lines = [re.sub(r'^ ?\*? ?', '', l) if k else l for k, l in enumerate(body.split('\n'))]
    out, drawn = [], False
    for k, line in enumerate(lines):
        indented = line.startswith('  ') and (drawn or k == 0 or not lines[k - 1].strip()
                                              or lines[k - 1].startswith('  '))
        listed = re.match(r'^\s*- ', line) or (indented and not drawn and out and out[-1].lstrip().startswith('- '))
        if indented and not listed and not drawn:
            out.append('```')
            drawn = True
        elif drawn and not indented and line.strip():
            out.append('```')
            drawn = False
        out.append(line if drawn else line.replace('<', '&lt;').replace('*', '\\*'))
    if drawn:
        out.append('```')
    return '\n'.join(out).replace('\n\n```\n```', '\n```')


def render(name, text):
    head, parts = parse(text)
    title = f'llmd/{name}'
    out = [f'## {title}', '', re.sub(r'^' + re.escape(title) + r': (\w)', lambda m: m.group(1).upper(), prose(head)), '']
    for part in parts:
        if isinstance(part, str):
            out += [f'### {part}', '']
            continue
        names = part.names()
        if names:
            out += ['#### ' + ', '.join(f'`{n}`' for n in names), '']
        if part.comment:
            out += [prose(part.comment), '']
        if part.code:
            out += ['```c'] + [line.rstrip() for line in part.code] + ['```', '']
    return '\n'.join(out)


def headers(include=INCLUDE):
    found = sorted(h for h in os.listdir(include) if h.endswith('.h'))
    return [h for h in ORDER if h in found] + [h for h in found if h not in ORDER]


def read(name, include=INCLUDE):
    with open(os.path.join(include, name), encoding='utf-8') as f:
        return f.read()


def uncommented(name, include=INCLUDE):
    """Exported functions of a header that no comment explains."""
    _, parts = parse(read(name, include))
    return [f for part in parts if isinstance(part, Item) and not part.comment for f in part.functions()]


def page(include=INCLUDE):
    names = headers(include)
    intro = ['# Reference', '',
             'Made from the public headers by `docs/reference.py`; the headers are the text to read beside code.', '']
    intro += [f'- [llmd/{n}](#llmd{n.replace(".", "")})' for n in names] + ['']
    return '\n'.join(intro) + '\n' + '\n'.join(render(n, read(n, include)) for n in names).rstrip('\n') + '\n'


if __name__ == '__main__':
    if sys.argv[1:] == ['--stdout']:
        sys.stdout.write(page())
    elif not sys.argv[1:]:
        with open(PAGE, 'w', encoding='utf-8') as out_file:
            out_file.write(page())
    else:
        sys.exit(__doc__)
