"""Which files are ours: what git tracks, or without git everything but build folders."""
import os
import subprocess


def files(root):
    """Paths relative to root, sorted."""
    try:
        out = subprocess.run(['git', '-C', root, 'ls-files', '-z'], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                             check=True).stdout.decode()
        found = [f for f in out.split('\0') if f and os.path.isfile(os.path.join(root, f))]
        if found:
            return sorted(found)
    except (OSError, subprocess.CalledProcessError):
        pass
    found = []
    for folder, subfolders, names in os.walk(root):
        at_top = os.path.samefile(folder, root)
        subfolders[:] = [s for s in subfolders
                         if s not in ('.git', '__pycache__') and not (at_top and s.startswith('build'))]
        found += [os.path.relpath(os.path.join(folder, n), root) for n in names]
    return sorted(found)


def read(root, path):
    with open(os.path.join(root, path), encoding='utf-8', errors='surrogateescape', newline='') as f:
        return f.read()


def without_comments(text):
    """C source with comments and the inside of literals blanked; line numbers stay."""
    out = []
    i, n = 0, len(text)
    while i < n:
        if text.startswith('/*', i):
            end = text.find('*/', i + 2)
            end = n if end < 0 else end + 2
            out.append('\n' * text.count('\n', i, end) or ' ')
            i = end
        elif text.startswith('//', i):
            end = text.find('\n', i)
            i = n if end < 0 else end
        elif text[i] in '"\'':
            quote, end = text[i], i + 1
            while end < n and text[end] not in (quote, '\n'):
                end += 2 if text[end] == '\\' else 1
            out.append(quote + quote)
            i = end + 1
        else:
            out.append(text[i])
            i += 1
    return ''.join(out)
