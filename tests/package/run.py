#!/usr/bin/env python3
"""Installs the library into an empty root and uses it the ways strangers do.

    run.py SOURCE_ROOT BUILD_ROOT

pkg-config (shared, static, C++, not installed), CMake, a meson subproject, examples/plugin out of the tree, libllmd-uv.
"""
import glob
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lint'))
import tap  # noqa: E402

CC = os.environ.get('CC', 'cc').split()
CXX = os.environ.get('CXX', 'c++').split()


class Failed(Exception):
    pass


def call(*command, env=None, cwd=None):
    """The command's output; Failed with all it said when it does not succeed."""
    run = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True, check=False,
                         cwd=cwd, env=dict(os.environ, **(env or {})), errors='replace')
    if run.returncode:
        raise Failed(' '.join(command) + f': exit code {run.returncode}\n' + run.stdout)
    return run.stdout.strip()


class Installed:
    """The library in a root of its own, and the environment in which pkg-config finds it there and nowhere else."""

    def __init__(self, source, build, folder):
        self.source, self.build, self.folder = source, build, folder
        self.root = os.path.join(folder, 'root')
        with open(os.path.join(build, 'meson-info', 'intro-buildoptions.json'), encoding='utf-8') as f:
            options = {o['name']: o['value'] for o in json.load(f)}
        self.prefix = options['prefix']
        self.libdir = self.root + os.path.join(self.prefix, options['libdir'])
        self.includedir = self.root + os.path.join(self.prefix, options['includedir'])
        self.datadir = self.root + os.path.join(self.prefix, options['datadir'])
        self.env = {'PKG_CONFIG_PATH': os.path.join(self.libdir, 'pkgconfig'), 'PKG_CONFIG_SYSROOT_DIR': self.root,
                    'LD_LIBRARY_PATH': self.libdir}
        call('meson', 'install', '-C', build, '--no-rebuild', '--quiet', '--destdir', self.root)

    def flags(self, *options, package='libllmd'):
        """pkg-config's answer. The sysroot is meant for our files: packages of the system keep their places."""
        words = call('pkg-config', *options, package, env=self.env).split()
        return [w for w in words if not (w.startswith(('-I', '-L')) and not os.path.isdir(w[2:]))]

    def out(self, name):
        return os.path.join(self.folder, name)


def consumer(at):
    return os.path.join(at.source, 'tests', 'package', 'consumer.c')


def version(at):
    with open(os.path.join(at.source, 'include', 'llmd', 'version.h'), encoding='utf-8') as f:
        parts = re.findall(r'^#define LLMD_VERSION_(?:MAJOR|MINOR|PATCH) (\d+)$', f.read(), re.M)
    return '.'.join(parts)


def needs_us(program):
    return 'libllmd.so.0' in call('readelf', '-dW', program)


def files(at):
    public = {os.path.basename(h) for h in glob.glob(os.path.join(at.source, 'include', 'llmd', '*.h'))}
    there = set(os.listdir(os.path.join(at.includedir, 'llmd')))
    if public != there:
        raise Failed(f'headers: {sorted(public ^ there)}')
    for name in ('libllmd.so', 'libllmd.so.0', 'libllmd.so.' + version(at), 'libllmd.a', 'pkgconfig/libllmd.pc',
                 'cmake/llmd/llmd-config.cmake', 'cmake/llmd/llmd-config-version.cmake'):
        if not os.path.exists(os.path.join(at.libdir, name)):
            raise Failed(name + ' is not installed')
    if os.path.exists(os.path.join(at.libdir, 'llmd', 'llmd-lua.so')):
        for name in ('policies/default.lua', 'library/llmd.lua', '.luarc.json'):
            if not os.path.exists(os.path.join(at.datadir, 'llmd', name)):
                raise Failed(name + ' is not installed')


def one_version(at):
    said = {'pkg-config': at.flags('--modversion')[0], 'version.h': version(at)}
    with open(os.path.join(at.source, 'CHANGELOG.md'), encoding='utf-8') as f:
        said['CHANGELOG.md'] = re.search(r'^## (\S+)', f.read(), re.M).group(1)
    if len(set(said.values())) != 1:
        raise Failed(str(said))


def shared(at):
    call(*CC, '-std=c11', consumer(at), '-o', at.out('shared'), *at.flags('--cflags', '--libs'))
    if not needs_us(at.out('shared')):
        raise Failed('linked without libllmd.so.0')
    call(at.out('shared'), env=at.env)


def static(at):
    libs = ['-l:libllmd.a' if w == '-lllmd' else w for w in at.flags('--static', '--libs')]
    call(*CC, '-std=c11', consumer(at), '-o', at.out('static'), *at.flags('--cflags'), *libs)
    if needs_us(at.out('static')):
        raise Failed('needs libllmd.so.0 although linked with the archive')
    call(at.out('static'))


def cplusplus(at):
    call(*CXX, '-x', 'c++', '-std=c++17', consumer(at), '-o', at.out('cplusplus'), *at.flags('--cflags', '--libs'))
    call(at.out('cplusplus'), env=at.env)


def uninstalled(at):
    env = {'PKG_CONFIG_PATH': os.path.join(at.build, 'meson-uninstalled')}
    flags = call('pkg-config', '--cflags', '--libs', 'libllmd', env=env).split()
    call(*CC, '-std=c11', consumer(at), '-o', at.out('uninstalled'), *flags)
    call(at.out('uninstalled'), env={'LD_LIBRARY_PATH': os.path.join(at.build, 'libllmd')})


def cmake(at):
    folder = at.out('cmake')
    os.mkdir(folder)
    shutil.copy(consumer(at), folder)
    with open(os.path.join(folder, 'CMakeLists.txt'), 'w', encoding='utf-8') as f:
        f.write('cmake_minimum_required(VERSION 3.16)\nproject(consumer C)\n'
                f'find_package(llmd {version(at)} REQUIRED)\n'
                'add_executable(shared consumer.c)\ntarget_link_libraries(shared llmd::llmd)\n'
                'add_executable(static consumer.c)\ntarget_link_libraries(static llmd::static)\n')
    call('cmake', '-S', folder, '-B', folder + '/b', f'-Dllmd_DIR={at.libdir}/cmake/llmd')
    call('cmake', '--build', folder + '/b')
    call(folder + '/b/shared')
    call(folder + '/b/static')
    if needs_us(folder + '/b/static') or not needs_us(folder + '/b/shared'):
        raise Failed('the targets do not link what they say')


def subproject(at):
    folder = at.out('meson')
    os.makedirs(os.path.join(folder, 'subprojects'))
    os.symlink(at.source, os.path.join(folder, 'subprojects', 'libllmd'))
    shutil.copy(consumer(at), folder)
    with open(os.path.join(folder, 'meson.build'), 'w', encoding='utf-8') as f:
        f.write("project('consumer', 'c')\n"
                "dep = dependency('libllmd', fallback: 'libllmd', default_options: ['plugins=false', 'shell=disabled'])\n"
                "test('consumer', executable('consumer', 'consumer.c', dependencies: dep))\n")
    call('meson', 'setup', '--wrap-mode=forcefallback', '-Doptimization=0', folder + '/b', folder)
    call('ninja', '-C', folder + '/b', 'consumer')
    call(folder + '/b/consumer')


def plugin(at):
    """examples/plugin, copied away from the tree: one export, nothing of ours undefined."""
    folder = at.out('plugin')
    shutil.copytree(os.path.join(at.source, 'examples', 'plugin'), folder)
    include = ' '.join(at.flags('--cflags'))
    if at.source in include:
        raise Failed('pkg-config points into the source tree: ' + include)
    call('make', '-C', folder, env=at.env)
    modules = glob.glob(os.path.join(folder, '**', '*.so'), recursive=True)
    if not modules:
        raise Failed('no module was built')
    for module in modules:
        exported = call('nm', '-D', '--defined-only', module).split('\n')
        if [row.split()[-1] for row in exported] != ['llmd_module']:
            raise Failed(f'{module} exports {exported}')
        undefined = re.findall(r'\bU (llmd\w+)', call('nm', '-D', '--undefined-only', module))
        if undefined:
            raise Failed(f'{module} needs {undefined}')


def uv(at):
    """libllmd-uv, shared and static."""
    source = os.path.join(at.source, 'tests', 'package', 'consumer_uv.c')
    words = at.flags('--cflags', '--libs', package='libllmd-uv')
    call(*CC, source, '-o', at.out('uv'), *words)
    if 'libllmd-uv.so.0' not in call('readelf', '-dW', at.out('uv')):
        raise Failed('linked without libllmd-uv.so.0')
    call(at.out('uv'), env=at.env)
    # Our archives, and the system's libraries as they are: not every Debian has archives of all that libcurl needs.
    others = call('pkg-config', '--libs', 'libuv', 'libcurl', 'libzmq', 'libcares', 'yaml-0.1').split()
    call(*CC, source, '-o', at.out('uv-static'), *at.flags('--cflags', package='libllmd-uv'), '-L' + at.libdir,
         '-l:libllmd-uv.a', '-l:libllmd.a', *others, '-ldl', '-lm')
    if needs_us(at.out('uv-static')):
        raise Failed('needs libllmd.so.0 although linked with the archives')
    call(at.out('uv-static'))


def attempt(name, at, check, needs=()):
    absent = [n for n in needs if not (shutil.which(n) or os.path.exists(os.path.join(at.source, n)))]
    if absent:
        tap.point(name, skip='needs ' + ', '.join(absent))
        return
    try:
        check(at)
        tap.point(name)
    except Failed as failed:
        tap.point(name, str(failed).splitlines()[-60:])


def main(source, build):
    with tempfile.TemporaryDirectory() as folder:
        at = Installed(os.path.realpath(source), build, folder)
        attempt('installs headers, libraries, pkg-config and CMake files', at, files)
        attempt('one version everywhere', at, one_version, ['CHANGELOG.md'])
        attempt('pkg-config, shared', at, shared)
        attempt('pkg-config, static', at, static)
        attempt('pkg-config, C++17', at, cplusplus, CXX[:1])
        attempt('pkg-config, not installed', at, uninstalled)
        attempt('CMake package', at, cmake, ['cmake', 'make'])
        attempt('meson subproject', at, subproject)
        attempt('examples/plugin out of the tree', at, plugin, ['make', 'examples/plugin/Makefile'])
        if os.path.exists(os.path.join(at.libdir, 'libllmd-uv.so.0')):
            attempt('libllmd-uv, shared and static', at, uv)
        else:
            tap.point('libllmd-uv, shared and static', skip='needs the libraries of libllmd-uv')
        tap.done()


if __name__ == '__main__':
    main(*sys.argv[1:])
