"""A few lines of TAP for the lint scripts: one point per thing checked, what is wrong as comments under it."""
import os
import shlex
import sys

_points = 0
_failed = 0


def point(name, problems=(), skip=None):
    """One point; it fails when there are problems (any iterable of lines)."""
    global _points, _failed
    problems = list(problems)
    _points += 1
    if skip:
        print(f'ok {_points} - {name} # SKIP skipped: {skip}')
        return
    print(f'{"not ok" if problems else "ok"} {_points} - {name}')
    for line in problems:
        print('#   ' + str(line))
    _failed += bool(problems)


def program(path):
    """The command that runs a program of the build, which may be for another machine."""
    return shlex.split(os.environ.get('MESON_EXE_WRAPPER', '')) + [path]


def note(text):
    print('# ' + text)


def done():
    print(f'1..{_points}')
    sys.stdout.flush()
    sys.exit(1 if _failed else 0)
