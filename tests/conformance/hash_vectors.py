#!/usr/bin/env python3
"""Other programs' block hashes, bit for bit: hash_vectors.py HASHER SOURCE_ROOT, as a test (TAP).

Collected vectors (data/block_hashes.json), random blocks against Python's own pickle and hashlib, and, where
../shared/data/vllm is at hand, every block that a running vLLM announced, recomputed from its tokens.
"""
import hashlib
import json
import os
import pickle
import random
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
sys.path.insert(0, os.path.join(HERE, '..', 'lint'))
import msgpack  # noqa: E402
import tap  # noqa: E402

VLLM = {'sha256': 'vllm-sha256', 'sha256_cbor': 'vllm-sha256-cbor', 'xxhash': 'vllm-xxhash', 'xxhash_cbor': 'vllm-xxhash-cbor'}
LLMD = {'cbor-fnv': 'llmd-cbor-fnv', 'xxh64': 'llmd-xxh64', 'approx-xxh64': 'llmd-approx'}
TAGGED, OFFSETS, BARE = range(3)
MEDIA, EMBEDS = range(2)
NONE_SEED = 'vllm-none-hash'
CBOR_MOST = 1 << 64


# ---- the hasher ----------------------------------------------------------------------------------------------------

class Asked:
    """One line for the hasher, and a check of what it answers."""

    def __init__(self, where, scheme, tokens, check, parts=(), **fields):
        texts = {k: (v if isinstance(v, bytes) else v.encode()).hex() for k, v in fields.items()
                 if isinstance(v, (str, bytes))}
        numbers = {k: v for k, v in fields.items() if isinstance(v, int)}
        line = [f'scheme={scheme}', 'tokens=' + ','.join(map(str, tokens))] if tokens else [f'scheme={scheme}']
        line += [f'{k}={v}' for k, v in {**numbers, **texts}.items()]
        line += [f'part={kind}:{offset}:{length}:{number}:{text.hex()}' for kind, offset, length, number, text in parts]
        self.where, self.line, self.check = where, ' '.join(line), check


class Answer:
    def __init__(self, line):
        root, *blocks = line.split(' ')
        self.root = root.split(':')
        rows = [b.split(':') for b in blocks]
        self.digests = [r[0] for r in rows]
        self.names = [int(r[1]) for r in rows]
        self.locals = [int(r[2]) for r in rows]


def judge(hasher, asked):
    """What is wrong, a line each."""
    done = subprocess.run(tap.program(hasher), input=''.join(a.line + '\n' for a in asked), stdout=subprocess.PIPE,
                          universal_newlines=True, check=False)
    lines = done.stdout.splitlines()
    if done.returncode or len(lines) != len(asked):
        return [f'the hasher ended with {done.returncode} after {len(lines)} of {len(asked)}']
    wrong = []
    for one, line in zip(asked, lines):
        right = not line.startswith('error') and one.check(Answer(line))
        if not right:
            wrong.append(f'{one.where}: {line[:200]} for {one.line[:300]}')
    return wrong


def point(hasher, name, asked):
    wrong = judge(hasher, asked) if asked else ['nothing to compare']
    tap.point(f'{name}: {len(asked)}', wrong[:20])


# ---- collected vectors ---------------------------------------------------------------------------------------------

def tokens_of(v):
    if 'tokensRule' in v:
        first, last = map(int, v['tokensRule'].split('..'))
        return list(range(first, last + 1))
    return v['tokens']


def vllm_extras(v):
    """Fields and parts of "extra_keys": per block, texts (adapter, salt), [id, offset in block], {"bytes_hex"}."""
    fields, media, embeds, size = {}, {}, [], v['block_size']
    for number, keys in enumerate(v.get('extra_keys') or []):
        for key in keys or []:
            if isinstance(key, str):
                fields['salt' if key.startswith('salt') else 'lora'] = key
            elif isinstance(key, dict):
                embeds.append((EMBEDS, number * size, size, 0, bytes.fromhex(key['bytes_hex'])))
            else:
                start = key[1] + number * size
                media[key[0], start] = (MEDIA, start, (number + 1) * size - start, 0, key[0].encode())
    fields.update({k: v[name] for k, name in (('lora', 'lora_name'), ('salt', 'cache_salt')) if v.get(name)})
    return fields, list(media.values()) + embeds


def vllm(v, where):
    seed, scheme = v['PYTHONHASHSEED'], VLLM[v['algo']]
    if v['op'] == 'NONE_HASH':
        return Asked(where, scheme, [], lambda a: a.root[0] == v['digest_hex'] and
                     int(a.root[1]) == v.get('u64', int(a.root[1])), seed=seed, block=16)
    fields, parts = vllm_extras(v)
    return Asked(where, scheme, v['tokens'], lambda a: a.digests == v['digests_hex'] and a.names == v['u64'], parts,
                 seed=seed, block=v['block_size'], extras=OFFSETS, **fields)


def texts_of(lists, size):
    return [(MEDIA, i * size, size, 0, text.encode()) for i, texts in enumerate(lists or []) for text in texts or []]


def llmd(v, where):
    return Asked(where, LLMD[v['algo']], v['tokens'],
                 lambda a: a.names == v['block_keys'] and int(a.root[1]) == v['model_init_hash'],
                 texts_of(v['mm_hashes_per_block'], v['blockSizeTokens']), seed=v['hashSeed'], model=v['model'],
                 block=v['blockSizeTokens'])


def golden(v, where):
    root, most = int(v.get('modelHash', v['initHash']), 16), v.get('maxBlocks')
    return Asked(where, LLMD[v['algo']], tokens_of(v),
                 lambda a: a.names[:most] == [int(k, 16) for k in v['keys']] and int(a.root[1]) == root,
                 texts_of(v.get('extrasPerBlock'), v['blockSizeTokens']), seed=v.get('hashSeed', ''), model=v['model'],
                 salt=v.get('cacheSalt', ''), block=v['blockSizeTokens'])


def approximate(v, where):
    return Asked(where, 'llmd-approx', v['tokens'],
                 lambda a: a.names == v['block_hashes'] and int(a.root[1]) == v['init'],
                 model=v['model'], salt=v['cache_salt'], block=v['blockSizeTokens'])


def dynamo(v, where):
    size = v['kv_block_size']
    parts = [(MEDIA, i * size, size, number, b'') for i, numbers in enumerate(v['mm_hashes_per_block'] or [])
             for number in numbers or []]
    return Asked(where, 'dynamo', v['tokens'],
                 lambda a: a.names == v['sequence_hashes'] and a.locals == v['local_block_hashes'], parts,
                 lora=v['lora_name'], salt=v['cache_namespace'], block=size)


def sglang(v, where):
    names = [n % CBOR_MOST for n in v['event_int64']]
    return Asked(where, 'sglang', v['tokens'], lambda a: a.digests == v['digests_hex'] and a.names == names,
                 block=v['page_size'])


def one_xxh64(v, where):
    """A block behind a parent; or XXH64 of a text, which is an approximate chain's root for a model of that name."""
    if v['op'] != 'block':
        return Asked(where, 'llmd-approx', [], lambda a: int(a.root[1]) == v['expected'], model=v['input'], block=1)
    return Asked(where, 'llmd-xxh64', [t % (1 << 32) for t in v['tokens_i32']], lambda a: a.names == [v['expected']],
                 parent=v['parent'].to_bytes(8, 'big'), block=1, step=1)


def counts(v, where):
    """How many blocks, the partial ones counted; None: no blocks of that size."""
    if 'prompts' in v:
        full = [p for p in v['prompts'] if p]
        return [Asked(where, 'llmd-approx', p, lambda a, n=n: len(a.names) == n, block=v['bs'])
                for p, n in zip(full, v['per_prompt'])]
    if v['blocks'] is None:
        return []
    return [Asked(where, 'llmd-approx', v['tokens'], lambda a: len(a.names) == len(v['blocks']), block=v['bs'])]


MAKE = {
    'vllm.block_hash': vllm, 'vllm.block_hash.public': vllm, 'llm-d.kvblock.request_keys': llmd,
    'llm-d.approx_prefix.block_hashes': approximate, 'dynamo.block_and_sequence_hash': dynamo,
    'sglang.page_hash': sglang, 'sglang.map_events.public': sglang, 'xxh64.parent8_tokens4.block_hash': one_xxh64,
    'golden_hashes': golden, 'prefix-blocks': counts,
}


def collected(hasher):
    with open(os.path.join(HERE, 'data', 'block_hashes.json'), encoding='utf-8') as f:
        sets = json.load(f)
    tap.point('every set is known', set(sets) ^ set(MAKE))
    for name, vectors in sets.items():
        asked = []
        for number, v in enumerate(vectors):
            made = MAKE[name](v, f'vector {number}')
            asked += made if isinstance(made, list) else [made]
        point(hasher, name, asked)
    return sets


def same_as_shared(sets, shared):
    """The copy in data/ is what was collected."""
    path = os.path.join(shared, 'vectors', 'prefix-and-events.json')
    if not os.path.isfile(path):
        tap.point('the copy is what was collected', skip='needs ../shared/vectors')
        return
    with open(path, encoding='utf-8') as f:
        theirs = {s['name']: [v for v in s['vectors'] if v.get('op') != 'payload'] for s in json.load(f)['sets']}
    tap.point('the copy is what was collected', [name for name in sets if name in theirs and theirs[name] != sets[name]])


# ---- random blocks -------------------------------------------------------------------------------------------------

def cbor_head(major, value):
    if value < 24:
        return bytes([major << 5 | value])
    width = next(i for i in range(4) if value < 1 << (8 << i))
    return bytes([major << 5 | 24 + width]) + value.to_bytes(1 << width, 'big')


def cbor(value):
    if value is None:
        return b'\xf6'
    if isinstance(value, int):
        return cbor_head(0, value) if value >= 0 else cbor_head(1, -1 - value)
    if isinstance(value, bytes):
        return cbor_head(2, len(value)) + value
    if isinstance(value, str):
        return cbor_head(3, len(value.encode())) + value.encode()
    return cbor_head(4, len(value)) + b''.join(map(cbor, value))


SERIALISE = {'vllm-sha256': lambda o: pickle.dumps(o, protocol=5), 'vllm-sha256-cbor': cbor}


def sha256(scheme, value):
    return hashlib.sha256(SERIALISE[scheme](value)).digest()


def fresh(text):
    """The text as an object of its own, as it comes off a wire (CPython has one object for the shortest)."""
    return text.encode().decode()


def random_text(rng):
    letters = rng.choice(['a', 'ab', 'abcdef0123456789', 'aä', '模型a', '🚀x'])
    return ''.join(rng.choice(letters) for _ in range(rng.choice([1, 1, 2, 5, 64, 255, 256, 300])))


def random_parts(rng, n):
    """Media behind each other with gaps, and embeddings of some blocks' starts."""
    parts, at = [], rng.randrange(-20, 20)
    while at < n and len(parts) < 40:
        length = rng.choice([1, 2, 7, 30, 200])
        if at + length > 0:
            parts.append((MEDIA, at, length, 0, random_text(rng).encode()))
        at += length + rng.choice([0, 0, 1, 9, 100])
    return parts


def extras_of(form, lora, path, salt, parts, start, end):
    """The tuple that vLLM makes of it, or None."""
    touching = [p for p in parts if p[1] < end and p[1] + p[2] > start]
    media = [(fresh(p[4].decode()), p[1] - start) for p in touching if p[0] == MEDIA]
    embeds = [p[4] for p in touching if p[0] == EMBEDS]
    salted = [fresh(salt)] if salt and start == 0 else []
    named = [fresh(lora)] if lora else []
    if form == BARE:
        media = [m[0] for m in media]
    if form == TAGGED:
        named = [('lora', n, fresh(path)) for n in named]
        media = [('mm',) + m for m in media]
        salted = [('cache_salt', s) for s in salted]
        embeds = [('prompt_embeds', e) for e in embeds]
    return tuple(named + media + salted + embeds) or None


def random_case(rng, number):
    scheme, form, size = rng.choice(list(SERIALISE)), rng.randrange(3), rng.choice([1, 2, 3, 4, 5, 16, 64, 300])
    blocks, wide = rng.randrange(1, 5), rng.choice([1 << 8, 1 << 16, 1 << 17, 1 << 31, 1 << 32])
    tokens = [rng.choice([rng.randrange(wide), rng.randrange(300), wide - 1]) for _ in range(size * blocks + rng.randrange(size))]
    lora, salt, path = (random_text(rng) if rng.random() < p else '' for p in (0.3, 0.4, 0.8))
    seed = rng.choice(['', '0', '42', random_text(rng)] + [None] * (form == TAGGED))
    parts = random_parts(rng, len(tokens)) if rng.random() < 0.5 else []
    embeds = [(EMBEDS, i * size, size, 0, rng.randbytes(32)) for i in range(blocks) if rng.random() < 0.2]
    parts = sorted(parts + embeds, key=lambda p: p[1])
    parent = root = sha256(scheme, NONE_SEED if seed is None else seed)
    digests = []
    for at in range(0, size * blocks, size):
        extras = extras_of(form, lora, path, salt, parts, at, at + size)
        parent = sha256(scheme, (parent, tuple(tokens[at:at + size]), extras))
        digests.append(parent.hex())
    return Asked(f'random case {number}', scheme, tokens, lambda a: a.digests == digests and a.root[0] == root.hex(),
                 parts, block=size, extras=form, lora=lora, path=path, salt=salt, seed=seed)


def random_cases(hasher, n):
    rng = random.Random(2026)
    asked = [random_case(rng, i) for i in range(n)]
    point(hasher, "random blocks against Python's pickle, CBOR and hashlib", asked)


# ---- what a running vLLM announced ---------------------------------------------------------------------------------

def stored_events(path):
    with open(path, encoding='utf-8') as f:
        for line in f:
            batch = msgpack.decode(bytes.fromhex(json.loads(line)['frames'][2]))
            yield from (e for e in batch[1] if e['type'] == 'BlockStored')


def recorded(scheme, seed, path):
    """One question an event, its parent the whole digest: computed here with hashlib when the event has its name only."""
    digests, asked, blocks = {}, [], 0
    for number, event in enumerate(stored_events(path)):
        size, tokens, names = event['block_size'], event['token_ids'], event['block_hashes']
        above, extras = event['parent_block_hash'], event.get('extra_keys') or [None] * len(names)
        salt = extras[0][0] if extras[0] else None
        parent = None if above is None else above if isinstance(above, bytes) else digests[above]
        last = sha256(scheme, NONE_SEED if seed is None else seed) if parent is None else parent
        for i, name in enumerate(names):
            tagged = tuple(('cache_salt', s) for s in extras[i]) if extras[i] else None
            last = sha256(scheme, (last, tuple(tokens[i * size:(i + 1) * size]), tagged))
            digests[name] = last
        asked.append(Asked(f'event {number}', scheme, tokens,
                           lambda a, names=names: [bytes.fromhex(d) for d in a.digests] == names or a.names == names,
                           block=size, parent=parent, salt=salt, seed=seed))
        blocks += len(names)
    return asked, blocks


def recordings(hasher, shared):
    for folder, scheme, seed in (('sha256_cbor_seed0', 'vllm-sha256-cbor', '0'), ('sha256_noseed_bytes', 'vllm-sha256', None)):
        path = os.path.join(shared, 'data', 'vllm', folder, 'frames.jsonl')
        if not os.path.isfile(path):
            tap.point(f'vLLM, {folder}', skip='needs ../shared/data/vllm')
            continue
        asked, blocks = recorded(scheme, seed, path)
        point(hasher, f'vLLM, {folder}: {blocks} blocks, events', asked)


def main(hasher, root):
    shared = os.environ.get('LLMD_SHARED') or os.path.join(root, '..', 'shared')
    same_as_shared(collected(hasher), shared)
    random_cases(hasher, 3000)
    recordings(hasher, shared)
    tap.done()


if __name__ == '__main__':
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
