#!/usr/bin/env python3
"""The documentation says what is there.

    docs.py SOURCE_ROOT

Every exported function has a comment, docs/reference.md is what docs/reference.py makes, the pages about Lua are what
docs/lua_reference.py makes, and links between our pages lead somewhere.
"""
import os
import re
import sys

import tap
import tree

LINK = re.compile(r'(?<!!)\[[^\]]*\]\(([^)#\s]+)(?:#[^)\s]*)?\)')


def links(root):
    problems = []
    for path in tree.files(root):
        if not path.endswith('.md'):
            continue
        text = re.sub(r'```.*?```|`[^`\n]*`', '', tree.read(root, path), flags=re.S)
        for target in LINK.findall(text):
            there = os.path.join(root, os.path.dirname(path), target)
            made_later = os.path.basename(target) == 'reference.md'  # has a point of its own
            if not (re.match(r'^[a-z]+:', target) or made_later or os.path.exists(there)):
                problems.append(f'{path}: {target}')
    return problems


def main(root):
    sys.dont_write_bytecode = True
    sys.path.insert(0, os.path.join(root, 'docs'))
    import lua_reference
    import reference
    for header in reference.headers():
        tap.point(f'llmd/{header}: every exported function has a comment', reference.uncommented(header))
    if os.path.exists(reference.PAGE):
        with open(reference.PAGE, encoding='utf-8') as f:
            fresh = f.read() == reference.page()
        tap.point('docs/reference.md is up to date', [] if fresh else ['run docs/reference.py'])
    else:
        tap.point('docs/reference.md is up to date', skip='not made yet: run docs/reference.py')
    tap.point('docs/lua-reference.md and lua/library/llmd.lua are up to date', lua_reference.stale())
    tap.point('links between pages lead somewhere', links(root))
    tap.done()


if __name__ == '__main__':
    main(sys.argv[1])
