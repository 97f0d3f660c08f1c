#!/usr/bin/env python3
"""KV events as `llmd events --json` reads them, against what they mean: events.py LLMD SOURCE_ROOT, as a test (TAP).

Collected payloads (data/kv_events.json), random batches in both encodings and in all forms that MessagePack has for a
value, payloads with bytes changed (which must be refused exactly when their structure is broken), and, where
../shared/data/vllm is at hand, every message that a running vLLM sent.
"""
import json
import os
import random
import struct
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
sys.path.insert(0, os.path.join(HERE, '..', 'lint'))
import msgpack  # noqa: E402
import tap  # noqa: E402

RANDOM, BROKEN = 1500, 3000
STORED = ['block_hashes', 'parent_block_hash', 'token_ids', 'block_size', 'lora_id', 'medium', 'lora_name',
          'extra_keys', 'group_idx', 'kv_cache_spec_kind', 'kv_cache_spec_sliding_window', 'locality', 'ownership', 'session_id']
REMOVED = ['block_hashes', 'medium', 'group_idx', 'locality', 'ownership']
TIERS = {None: 'gpu', 'GPU': 'gpu', 'CPU': 'cpu', 'CPU_PINNED': 'cpu', 'STORAGE': 'disk', 'DISK': 'disk',
         'EXTERNAL': 'remote'}
ATTENTION = {'full_attention': 'full', 'mla_attention': 'full', 'sliding_window': 'sliding', 'mamba': 'other'}
NAMES = (('lora_name', 'lora'), ('medium', 'medium'), ('locality', 'locality'), ('ownership', 'ownership'),
         ('session_id', 'session'), ('cache_salt', 'salt'), ('group_idx', 'group'), ('lora_id', 'lora_id'))


# ---- what an event means -------------------------------------------------------------------------------------------

def is_bytes(value):
    return isinstance(value, bytes) or (isinstance(value, dict) and 'bytes_hex' in value)


def hexed(value):
    return value['bytes_hex'] if isinstance(value, dict) else value.hex()


def texts(key):
    """The texts of one member of a block's extra keys."""
    if isinstance(key, (list, tuple)):
        return [t for k in key for t in texts(k)]
    return [key] if isinstance(key, str) else []


def extras(event):
    rows = []
    for block, keys in enumerate(event.get('extra_keys') or []):
        found = [t for key in keys or [] for t in texts(key)]
        if found and event.get('lora_name') and found[0] == event['lora_name']:
            found = found[1:]
        rows += [{'block': block, 'text': t} for t in found]
    return rows


def hashes(event, said):
    names, parent = event['block_hashes'], event.get('parent_block_hash')
    if names and is_bytes(names[0]):
        said['digests'] = [hexed(n) for n in names]
        if parent is not None:
            said['parent_digest'] = hexed(parent)
        return
    said['names'] = [n % (1 << 64) for n in names]
    if parent is not None:
        said['parent'] = parent % (1 << 64)


def meaning(event):
    """What the shell should say of it, without the offset; hashes of digests are left to conformance/hashes."""
    if isinstance(event, list):
        fields = STORED if event[0] == 'BlockStored' else REMOVED
        event = dict(zip(['type'] + fields, event))
    kind = {'BlockStored': 'stored', 'BlockRemoved': 'removed', 'AllBlocksCleared': 'cleared'}.get(event['type'])
    said = {'kind': kind or 'unknown', 'type': event['type']}
    if kind not in ('stored', 'removed'):
        return said
    hashes(event, said)
    names = NAMES
    said['tier'] = 'remote' if event.get('locality') == 'REMOTE' else TIERS.get(event.get('medium'), 'remote')
    if kind == 'stored':
        said['tokens'] = [t[0] if isinstance(t, list) else t for t in event.get('token_ids') or []]
        said['block_size'] = event.get('block_size') or 0
        said['attention'] = ATTENTION.get(event.get('kv_cache_spec_kind'))
        said['window'] = event.get('kv_cache_spec_sliding_window')
        said['extra'] = extras(event) or None
    else:
        names = [n for n in NAMES if n[0] in REMOVED]
    said.update((ours, event.get(theirs)) for theirs, ours in names)
    return {k: v for k, v in said.items() if v is not None}


def said_of(event):
    if 'digests' in event:
        event = {k: v for k, v in event.items() if k not in ('names', 'parent')}
    return {k: v for k, v in event.items() if k != 'offset'}


def differences(batch, message):
    """Of one message of the shell's."""
    if 'error' in message:
        return [f'refused: {message["error"]}']
    if isinstance(batch, dict):
        ts, events = batch.get('ts'), batch['events']
        rank = batch.get('data_parallel_rank', batch.get('attn_dp_rank'))
    else:
        ts, events, rank = (batch + [None])[:3]
    if len(events) != len(message['events']):
        return [f'{len(message["events"])} events instead of {len(events)}']
    if events and (abs(message['ts'] - ts) > 1e-5 or message['rank'] != rank):  # cJSON prints 15 digits
        return [f'ts, rank: {message["ts"], message["rank"]} instead of {ts, rank}']
    found = []
    for expected, said in zip(map(meaning, events), map(said_of, message['events'])):
        found += [f'{k}: {said.get(k)!r} instead of {expected.get(k)!r}' for k in {**expected, **said}
                  if said.get(k) != expected.get(k)]
    return found


# ---- asking --------------------------------------------------------------------------------------------------------

def ask(llmd, lines):
    done = subprocess.run(tap.program(llmd) + ['events', '--json', '-'], input='\n'.join(lines).encode(),
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
    if done.returncode not in (0, 1):
        raise SystemExit(f'llmd events: exit code {done.returncode}\n{done.stderr.decode()}')
    return json.loads(done.stdout)


def compare(llmd, name, cases):
    """cases: (what, batch, line)."""
    messages = ask(llmd, [line for _, _, line in cases])['messages']
    wrong = [] if len(messages) == len(cases) else [f'{len(messages)} messages instead of {len(cases)}']
    for (what, batch, _), message in zip(cases, messages):
        wrong += [f'{what}: {d}' for d in differences(batch, message)]
    tap.point(f'{name}: {len(cases)} messages', wrong[:20])


# ---- packing -------------------------------------------------------------------------------------------------------

class Packer:
    """rng: values in any form that can hold them; None: in the shortest."""

    def __init__(self, rng=None):
        self.rng, self.out = rng, bytearray()

    def choose(self, forms):
        return self.rng.choice(forms) if self.rng and self.rng.random() < .3 else forms[0]

    def sized(self, n, short, heads, base):
        """A head with a length: the fix form below `short`, then heads from 8, 16, 32 bits (None: there is none)."""
        forms = [bytes([base | n])] if n < short else []
        for head, form in zip(heads, ('>B', '>H', '>I')):
            if head is not None and n < 1 << 8 * struct.calcsize(form):
                forms.append(bytes([head]) + struct.pack(form, n))
        self.out += self.choose(forms)

    def integer(self, v):
        forms = [struct.pack('>b', v)] if -32 <= v < 128 else []
        for head, form in ((0xcc, '>B'), (0xcd, '>H'), (0xce, '>I'), (0xcf, '>Q'), (0xd0, '>b'), (0xd1, '>h'),
                           (0xd2, '>i'), (0xd3, '>q')):
            try:
                forms.append(bytes([head]) + struct.pack(form, v))
            except struct.error:
                pass
        self.out += self.choose(forms)

    def value(self, v):
        if v is None or isinstance(v, bool):
            self.out.append({None: 0xc0, False: 0xc2, True: 0xc3}[v])
        elif isinstance(v, int):
            self.integer(v)
        elif isinstance(v, float):
            self.out += b'\xcb' + struct.pack('>d', v)
        elif isinstance(v, str):
            self.sized(len(v.encode()), 32, (0xd9, 0xda, 0xdb), 0xa0)
            self.out += v.encode()
        elif is_bytes(v):
            raw = bytes.fromhex(hexed(v))
            self.sized(len(raw), 0, (0xc4, 0xc5, 0xc6), 0)
            self.out += raw
        elif isinstance(v, dict):
            self.sized(len(v), 16, (None, 0xde, 0xdf), 0x80)
            for key, item in v.items():
                self.value(key)
                self.value(item)
        else:
            self.sized(len(v), 16, (None, 0xdc, 0xdd), 0x90)
            for item in v:
                self.value(item)


def pack(value, rng=None):
    packer = Packer(rng)
    packer.value(value)
    return bytes(packer.out)


# ---- random batches ------------------------------------------------------------------------------------------------

def random_hash(rng, form):
    if form == 'bytes':
        return rng.randbytes(rng.choice((32, 32, 16, 8, 1)))
    large = rng.getrandbits(63) - (1 << 63) if form == 'signed' else rng.getrandbits(64)
    return rng.choice((rng.getrandbits(64), large, rng.randrange(200)))


def random_tokens(rng, n):
    most = rng.choice((100, 256, 60000, 150000, 1 << 31))
    tokens = [rng.randrange(most) for _ in range(n)]
    return [[t, rng.randrange(most)] for t in tokens] if rng.random() < .1 else tokens


def random_stored(rng):
    n, size = rng.randrange(8), rng.choice((1, 4, 16, 32))
    form = rng.choice(('int', 'signed', 'bytes'))
    event = {'block_hashes': [random_hash(rng, form) for _ in range(n)],
             'parent_block_hash': rng.choice((None, random_hash(rng, form))) if n else None,
             'token_ids': random_tokens(rng, n * size), 'block_size': size, 'lora_id': rng.choice((None, 0, 7)),
             'medium': rng.choice(list(TIERS) + ['PAPER']), 'lora_name': rng.choice((None, 'adapter'))}
    keys = (None, ['s'], ['adapter', 's'], [['img', 4]], [['img', -12], 's\u00e9'], [])
    if rng.random() < .5:
        event['extra_keys'] = [rng.choice(keys) for _ in range(n)]
        event['group_idx'] = rng.choice((None, 0, 3))
    if rng.random() < .5 and 'group_idx' in event:
        event['kv_cache_spec_kind'] = rng.choice(list(ATTENTION) + [None])
        event['kv_cache_spec_sliding_window'] = rng.choice((None, 128, 4096))
        event['locality'] = rng.choice((None, 'LOCAL', 'REMOTE'))
        event['ownership'] = rng.choice((None, 'kvcr'))
        event['session_id'] = rng.choice((None, 's1'))
    return event


def random_event(rng):
    kind = rng.random()
    if kind < .6:
        event, fields = dict(random_stored(rng), type='BlockStored'), STORED
    elif kind < .9:
        form = rng.choice(('int', 'signed', 'bytes'))
        event = {'type': 'BlockRemoved', 'block_hashes': [random_hash(rng, form) for _ in range(rng.randrange(20))],
                 'medium': rng.choice(list(TIERS)), 'group_idx': rng.choice((None, 2))}
        fields = REMOVED
    else:
        event, fields = {'type': rng.choice(('AllBlocksCleared', 'Rebooted'))}, []
    if rng.random() < .4:
        return [event['type']] + [event[f] for f in fields if f in event]
    if fields is STORED and rng.random() < .3:
        event['cache_salt'] = 'tenant'
    for extra in range(rng.randrange(3)):
        event[f'new{extra}'] = rng.choice((1, 'x', [1, [2.5, {}]], {'a': [None]}, rng.randbytes(40)))
    keys = list(event)
    if rng.random() < .5:
        rng.shuffle(keys)
    return {k: event[k] for k in keys}


def random_batch(rng):
    ts, events = rng.choice((1.5, 1757500000.25, 12)), [random_event(rng) for _ in range(rng.randrange(5))]
    rank = rng.choice((None, 0, 5, 300))
    if rng.random() < .2:
        return {'events': events, 'ts': ts, rng.choice(('data_parallel_rank', 'attn_dp_rank')): rank}
    return [ts, events, rank] + [['more']] * rng.randrange(2)


# ---- broken payloads -----------------------------------------------------------------------------------------------

def length_at(data, at):
    """(bytes of the value's own, values in it) at `at`; IndexError, ValueError: there is none."""
    lead = data[at]
    fixed = {0xc0: 0, 0xc2: 0, 0xc3: 0, 0xca: 4, 0xcb: 8, 0xcc: 1, 0xcd: 2, 0xce: 4, 0xcf: 8, 0xd0: 1, 0xd1: 2, 0xd2: 4,
             0xd3: 8, 0xd4: 2, 0xd5: 3, 0xd6: 5, 0xd7: 9, 0xd8: 17}
    sized = {0xc4: (1, 0), 0xc5: (2, 0), 0xc6: (4, 0), 0xc7: (1, 1), 0xc8: (2, 1), 0xc9: (4, 1), 0xd9: (1, 0),
             0xda: (2, 0), 0xdb: (4, 0)}
    counted = {0xdc: (2, 1), 0xdd: (4, 1), 0xde: (2, 2), 0xdf: (4, 2)}
    if lead < 0x80 or lead >= 0xe0:
        return 1, 0
    if lead < 0xa0:
        return 1, (lead & 15) * (2 if lead < 0x90 else 1)
    if lead < 0xc0:
        return 1 + (lead & 31), 0
    if lead in fixed:
        return 1 + fixed[lead], 0
    width, more = sized.get(lead) or counted[lead]
    if at + 1 + width > len(data):
        raise IndexError
    n = int.from_bytes(data[at + 1:at + 1 + width], 'big')
    return (1 + width + more + n, 0) if lead in sized else (1 + width, n * more)


def is_whole(data):
    at, left = 0, 1
    try:
        while left:
            size, inside = length_at(data, at)
            at, left = at + size, left - 1 + inside
            if at > len(data) or left > len(data):
                return False
    except (IndexError, KeyError):
        return False
    return at == len(data)


def break_it(rng, data):
    data = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 3))):
        at = rng.randrange(len(data))
        what = rng.random()
        if what < .5:
            data[at] = rng.choice((rng.randrange(256), 0xc1, 0xdd, 0x9f, 0xff))
        elif what < .7:
            del data[at:]
            data.append(0xc0)
        elif what < .85:
            del data[at]
            data.append(0)
        else:
            data.insert(at, rng.randrange(256))
    return bytes(data)


def broken(llmd, rng):
    payloads = [break_it(rng, pack(random_batch(rng))) for _ in range(BROKEN)]
    messages = ask(llmd, [p.hex() for p in payloads])['messages']
    wrong, refused = [], 0
    for payload, message in zip(payloads, messages):
        code = message.get('error', {}).get('code')
        structure = code in ('LLMD_E_SYNTAX', 'LLMD_E_TRUNCATED')
        refused += structure
        if (structure or not code) and structure == is_whole(payload):
            wrong.append(f'{code or "read"}: {payload.hex()}')
    tap.point(f'payloads with bytes changed: {len(payloads)}, {refused} broken, refused as a whole', wrong[:5])


# ---- the parts -----------------------------------------------------------------------------------------------------

def collected(llmd):
    with open(os.path.join(HERE, 'data', 'kv_events.json'), encoding='utf-8') as f:
        sets = json.load(f)
    for name, table in sets.items():
        rows = table['vectors']
        if 'zmq_frames' in name:
            frames(llmd, rows)
            continue
        compare(llmd, name, [(r.get('case', 'captured'), r['decoded'], r.get('payload_hex') or pack(r['decoded']).hex())
                             for r in rows])


def frames(llmd, rows):
    """A request is not for us to read; ends and messages are."""
    messages = ask(llmd, [json.dumps({'frames': r['frames_hex']}) for r in rows])['messages']
    wrong = []
    for row, message in zip(rows, messages):
        said = 'end' if message.get('end') else message.get('seq', message.get('error', {}).get('code'))
        expected = 'LLMD_E_SYNTAX' if 'request' in row['case'] else 'end' if 'end' in row['case'] else 5
        if said != expected:
            wrong.append(f'{row["case"]}: {said} instead of {expected}')
    tap.point(f'kv_events.zmq_frames: {len(rows)} messages', wrong)


def recording(llmd, folder, name):
    with open(os.path.join(folder, name), encoding='utf-8') as f:
        rows = [json.loads(line) for line in f if line.strip()]
    sent = [r for r in rows if 'frames' in r]
    said = ask(llmd, [json.dumps(r) for r in rows])
    wrong, kinds = [], {'stored': 0, 'removed': 0, 'cleared': 0}
    for row, message in zip(sent, said['messages']):
        if row['frames'][-2] == 'ff' * 8:
            wrong += [] if message.get('end') else ['no end']
            continue
        wrong += differences(msgpack.decode(bytes.fromhex(row['frames'][-1])), message)
        topic = bytes.fromhex(row['frames'][-3]).decode()
        if int(row['frames'][-2], 16) != message['seq'] or topic != message['topic']:
            wrong.append(f'topic, seq: {message["topic"]}, {message["seq"]}')
        for event in message['events']:
            kinds[event['kind']] += 1
    if len(sent) != len(said['messages']):
        wrong.append(f'{len(said["messages"])} messages instead of {len(sent)}')
    wrong += [f'{k}: {kinds[k]} and {said["events"][k]}' for k in kinds if kinds[k] != said['events'][k]]
    return len(sent), tuple(kinds.values()), wrong[:20]


def recordings(llmd, shared):
    vllm = os.path.join(shared, 'data', 'vllm')
    if not os.path.isdir(vllm):
        tap.point('messages of a running vLLM', skip='needs ../shared/data/vllm')
        return
    for folder, counts in (('sha256_cbor_seed0', (208, (258, 388, 1))), ('sha256_noseed_bytes', None)):
        for name in ('frames.jsonl', 'replay.jsonl'):
            n, kinds, wrong = recording(llmd, os.path.join(vllm, folder), name)
            if counts and name == 'frames.jsonl' and (n, kinds) != counts:
                wrong.append(f'{n}, {kinds} instead of {counts}')
            tap.point(f'vLLM, {folder}/{name}: {n} messages, {kinds} events stored, removed, cleared', wrong)


def main(llmd, root):
    rng = random.Random(4)
    collected(llmd)
    batches = [random_batch(rng) for _ in range(RANDOM)]
    compare(llmd, 'random batches', [(str(i), b, pack(b, rng).hex()) for i, b in enumerate(batches)])
    broken(llmd, rng)
    recordings(llmd, os.environ.get('LLMD_SHARED') or os.path.join(root, '..', 'shared'))
    tap.done()


if __name__ == '__main__':
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
