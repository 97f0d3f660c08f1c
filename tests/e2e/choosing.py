"""Ways in which a client may try to choose where its request goes, or to reach the fields by which engines hand KV
caches to each other: in headers, targets and bodies. Each names an address where somebody listens; nobody may ever
come there, and nothing that names it may reach an engine.
"""
import json

CHAT, PLAIN = '/v1/chat/completions', '/v1/completions'
OWNED = ('x-gateway-destination-endpoint', 'x-gateway-destination-endpoint-served',
         'x-gateway-destination-endpoint-subset', 'x-prefiller-host-port', 'x-prefiller-url', 'x-encoder-hosts-ports',
         'x-data-parallel-host-port', 'x-data-parallel-rank', 'x-kv-cache-source-host-port')
KEYS = ('kv_transfer_params', 'ec_transfer_params', 'bootstrap_host', 'bootstrap_port', 'bootstrap_room',
        'bootstrap_anything', 'mm_hashes', 'mm_placeholders', 'mm_features', 'disaggregated_params', 'data_parallel_rank',
        'routed_dp_rank', 'disagg_prefill_dp_rank')


def spellings(name):
    yield name
    yield name.upper()
    yield '-'.join(part.capitalize() for part in name.split('-'))
    yield name.replace('-', '_')
    yield name.replace('-', '_', 1).title()


def headers(address):
    """(what it is, header lines)"""
    for name in OWNED:
        for spelling in spellings(name):
            yield f'header {spelling}', f'{spelling}: {address}\r\n'
    for value in (f'cmpl-___prefill_addr_{address}___decode_addr_{address}_0', f'___DECODE_ADDR_{address}', address,
                  f'http://{address}/', f'a b {address}', f'{address},{address}'):
        yield f'request id {value}', f'x-request-id: {value}\r\n'
    for lines in (f'x-prefiller-host-port: a\r\nX-Prefiller-Host-Port: {address}\r\n',
                  f'x-prefiller-host-port:{address}\r\n', f'x-prefiller-host-port:\t {address} \t\r\n',
                  f'Connection: x-request-id, host, content-length\r\nx-prefiller-host-port: {address}\r\n',
                  f'Connection: x-hop\r\nX-Hop: {address}\r\n', f'Connection: close, X-HOP\r\nx_hop: {address}\r\n',
                  f'Proxy-Connection: {address}\r\n', f'Keep-Alive: {address}\r\n', f'TE: {address}\r\n',
                  f'Proxy-Authorization: {address}\r\n', f'Trailer: {address}\r\n'):
        yield f'header lines {lines!r}', lines


def wire(key, form):
    if form == 'escaped':
        return ''.join(f'\\u{ord(c):04x}' for c in key)
    if form == 'one escaped':
        return key[:2] + f'\\u{ord(key[2]):04X}' + key[3:]
    return key


def objects(key, value):
    """Bodies of a chat with that member: where it stands, and how it is written."""
    honest = '"model":"llmd-filler","messages":[{"role":"user","content":"hi"}]'
    for form in ('plain', 'escaped', 'one escaped'):
        k = f'"{wire(key, form)}":{value}'
        yield f'{key} {form}, last', f'{{{honest},{k}}}'
        yield f'{key} {form}, first', f'{{{k},{honest}}}'
        yield f'{key} {form}, twice', f'{{{k},{honest},{k}}}'
        yield f'{key} {form}, null first', f'{{"{wire(key, form)}":null,{honest},{k}}}'
        yield f'{key} {form}, blanks', f'{{ {honest} ,\n\t{k.replace(":", " :{} ".format(chr(13)), 1)} }}'
        for nest in ('vllm_xargs', 'extra_args', 'extra_body', 'sampling_params', 'vllm\\u005fxargs'):
            yield f'{key} {form} in {nest}', f'{{{honest},"{nest}":{{"a":1,{k},"b":2}}}}'
        yield f'{key} {form}, deep', f'{{{honest},"sampling_params":{{"extra_args":{{{k}}}}}}}'
        yield f'{key} {form}, in a list', f'{{{honest},"sampling_params":[{{{k}}}]}}'
    yield f'{key}, the other half escaped', f'{{{honest},"{key}":1,"{wire(key, "escaped")}":{value}}}'
    yield f'{key}, a key of its own only', f'{{"{key}":{value}}}'


def other_paths(value):
    k = f'"kv_transfer_params":{value},"bootstrap_host":{value}'
    yield PLAIN, f'{{"prompt":"p",{k}}}'
    yield PLAIN, f'{{"prompt":["p","q"],"sampling_params":{{{k}}}}}'
    yield '/v1/responses', f'{{"input":"p",{k}}}'
    yield '/v1/embeddings', f'{{"input":"p",{k}}}'
    yield '/v1/messages', f'{{"messages":[],{k}}}'
    yield '/inference/v1/generate', f'{{"token_ids":[1],"sampling_params":{{"extra_args":{{{k}}}}}}}'
    yield '/generate', f'{{"text":"p",{k}}}'
    yield '/v1/chat/completions/render', f'{{"messages":[],{k}}}'
    yield '/tokenize', f'{{"prompt":"p",{k}}}'
    for path in ('/invocations', '/v1/chat/completion%73', '/v1/chat%2fcompletions', '/v1/chat/completions/',
                 '//v1//chat//completions', '/v1/./chat/completions', '/x/../v1/chat/completions',
                 '/v1/CHAT/completions',
                 '/v1/chat/completions?path=/metrics', '/v1/chat/completions;a', '/pooling', '/score', '/v2/rerank'):
        yield path, f'{{"messages":[],{k}}}'
        yield path, f'\ufeff {{"messages":[],"kv\\u005ftransfer_params":{value}}}'
        yield path, f'[{{"messages":[],{k}}}]'


def bodies(address):
    """(what it is, path, body)"""
    value = json.dumps({'remote_host': address, 'remote_port': 1})
    for key in KEYS:
        for what, text in objects(key, value):
            yield what, CHAT, text.encode()
    for path, text in other_paths(value):
        yield f'{path} {text[:40]!r}', path, text.encode()
    text = f'{{"messages":[],"kv_transfer_params":{value}}}'
    for coding in ('utf-16', 'utf-16-le', 'utf-16-be', 'utf-32', 'utf-32-le', 'utf-32-be', 'utf-8-sig'):
        for path in (CHAT, '/invocations'):
            yield f'{path} in {coding}', path, text.encode(coding)


def targets(address):
    """Whole heads."""
    for line, host in ((f'GET http://{address}/', address), (f'GET http://{address}/v1/x', address),
                       (f'POST http://{address}/v1/chat/completions', address), (f'GET http://a@{address}/', address),
                       (f'CONNECT {address}', address), ('GET /', address), (f'GET HTTP://{address}/?x', address),
                       (f'OPTIONS http://{address}', address)):
        head = f'{line} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n'
        yield f'{line}, Host {host}', head


def members(text):
    """The names of all members of what a body holds, wherever they stand; of text within it, nothing."""
    names = []

    def keep(pairs):
        names.extend(name for name, _ in pairs)
        return dict(pairs)
    json.loads(text.decode('utf-8-sig'), object_pairs_hook=keep)
    return names
