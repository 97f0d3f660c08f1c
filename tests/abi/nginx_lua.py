#!/usr/bin/env python3
"""A Lua 5.4 policy inside nginx with its Lua module, which carries LuaJIT in its global scope.

    nginx_lua.py HOSTED_SO LOADER_DIR

nginx's own Lua (ffi) calls hosted_run of HOSTED_SO: libllmd decides by a policy that only Lua 5.4 can run. Before and
after it nginx's Lua says what it is. Needs nginx and libnginx-mod-http-lua.
"""
import http.client
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lint'))
import tap  # noqa: E402

MODULES = '/usr/lib/nginx/modules'
CONF = '''
load_module {modules}/ndk_http_module.so;
load_module {modules}/ngx_http_lua_module.so;
daemon off;
master_process off;
pid {dir}/nginx.pid;
error_log {dir}/error.log notice;
events {{ worker_connections 64; }}
http {{
  access_log off;
  client_body_temp_path {dir}/body;
  proxy_temp_path {dir}/proxy;
  fastcgi_temp_path {dir}/fastcgi;
  uwsgi_temp_path {dir}/uwsgi;
  scgi_temp_path {dir}/scgi;
  lua_package_path '{dir}/?.lua;;';
  server {{
    listen unix:{dir}/http.sock;
    location / {{
      content_by_lua_block {{
        local ffi = require 'ffi'
        ffi.cdef 'int hosted_run(const char *loader_dir, char *out, size_t cap);'
        local hosted = ffi.load('{hosted}')
        local room = ffi.new('char[256]')
        local rc = hosted.hosted_run('{loaders}', room, 256)
        ngx.say(_VERSION, ' ', jit and jit.version or 'no jit', ' | ', rc, ' | ', ffi.string(room))
      }}
    }}
  }}
}}
'''
# Its Lua module wants these of OpenResty, which a distribution may not have; what is used here needs none of them.
STAND_INS = ('resty/core.lua', 'resty/lrucache.lua')


def fetch(path):
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(60)
        s.connect(path)
        s.sendall(b'GET / HTTP/1.0\r\n\r\n')
        answer = b''
        while True:
            more = s.recv(65536)
            if not more:
                break
            answer += more
    return answer.split(b'\r\n\r\n', 1)[1].decode()


def wait_for(path, process):
    end = time.monotonic() + 60
    while time.monotonic() < end and process.poll() is None:
        try:
            return fetch(path)
        except (OSError, IndexError, http.client.HTTPException):
            time.sleep(0.05)
    return None


def main():
    hosted, loaders = (os.path.abspath(a) for a in sys.argv[1:3])
    nginx = shutil.which('nginx', path=os.environ.get('PATH', '') + ':/usr/sbin:/sbin')
    if not nginx or not os.path.exists(f'{MODULES}/ngx_http_lua_module.so'):
        tap.point('a policy decides inside nginx', skip='needs nginx and libnginx-mod-http-lua')
        tap.done()
    folder = tempfile.mkdtemp(prefix='llmd-nginx-')
    try:
        for name in STAND_INS:
            os.makedirs(os.path.dirname(f'{folder}/{name}'), exist_ok=True)
            with open(f'{folder}/{name}', 'w', encoding='utf-8') as f:
                f.write('return { version = "0.1.27" }\n')
        with open(f'{folder}/nginx.conf', 'w', encoding='utf-8') as f:
            f.write(CONF.format(modules=MODULES, dir=folder, hosted=hosted, loaders=loaders))
        with open(f'{folder}/said', 'w', encoding='utf-8') as said, \
                subprocess.Popen([nginx, '-p', folder, '-c', f'{folder}/nginx.conf'], stderr=said) as process:
            try:
                first = wait_for(f'{folder}/http.sock', process)
                second = fetch(f'{folder}/http.sock') if first else None
            finally:
                process.terminate()
                process.wait(30)
        log = open(f'{folder}/error.log', encoding='utf-8', errors='replace').read() if not first else ''
        log += open(f'{folder}/said', encoding='utf-8', errors='replace').read() if not first else ''
        good = '| 0 | 10.0.0.2 scores 0.875, ladder 0\n'
        for what, answer in (('a policy decides inside nginx', first), ('so it does again', second)):
            problems = [] if answer and answer.endswith(good) else [repr(answer), *log.splitlines()[-8:]]
            tap.point(what, problems)
        tap.point("nginx's own Lua is LuaJIT", [] if first and 'LuaJIT' in first else [repr(first)])
        if first:
            tap.note(first.strip())
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    tap.done()


if __name__ == '__main__':
    main()
