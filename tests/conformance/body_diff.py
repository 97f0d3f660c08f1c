#!/usr/bin/env python3
"""The body reader against Python's json: accepted or refused, and what was found.

    body_diff.py DUMP CORPUS [--mutants N] [--seed S] [--show N]

DUMP is the program made of body_dump.c, CORPUS the seeds of the fuzz target (fuzz/body.c says how they begin). Bodies
are those seeds, generated ones, and mutations of both (a fixed seed: the same ones each time). For each the expectation
is worked out here from json's tree, by the rules of the documentation and not from the C code. Prints TAP. Differences
that are meant are counted and named; any other fails.
"""
import argparse
import json
import os
import random
import shlex
import struct
import subprocess
import sys
from decimal import Decimal, InvalidOperation

CHAT, COMPLETIONS, RESPONSES, EMBEDDINGS, ANTHROPIC, VLLM, SGLANG, OTHER = range(1, 9)
PATHS = {
    CHAT: "/v1/chat/completions", COMPLETIONS: "/v1/completions", RESPONSES: "/v1/responses?x=1",
    EMBEDDINGS: "/v1/embeddings", ANTHROPIC: "/v1/messages", VLLM: "/inference/v1/generate", SGLANG: "/generate",
    OTHER: "/v1/conversations/",
}
TEXT, ROLE, TOOLS, IDS, MEDIA = range(1, 6)
STREAM, MULTIMODAL, TOKEN_IDS, SATURATED = 4, 8, 16, 64
INT64 = 2**63
MISSING = object()


class Obj(list):
    """An object as its pairs, duplicates and all."""


class Num:
    def __init__(self, text):
        self.text = text

    def __eq__(self, other):
        return isinstance(other, Num) and self.text == other.text

    def is_plain(self):
        return not any(c in self.text for c in ".eE")

    def whole(self):
        """The integer that it is, or None. Spellings with a fraction or exponent count up to 64 bytes."""
        if self.is_plain():
            return int(self.text)
        if len(self.text) > 64:
            return None
        try:
            d = Decimal(self.text)
        except InvalidOperation:  # an exponent beyond Decimal's own
            digits, exponent = self.text.lower().split("e")
            if not any(c in "123456789" for c in digits):
                return 0
            return None if exponent[0] == "-" else INT64 * (-10 if digits[0] == "-" else 10)
        if d == 0:
            return 0
        if d.adjusted() > 40:
            return (-1 if d < 0 else 1) * INT64 * 10
        if d.adjusted() < 0:
            return None
        sign, digits, exponent = d.as_tuple()
        if exponent < 0 and any(digits[exponent:]):
            return None
        value = int(d)
        return value


class Refused(Exception):
    """Valid JSON that the reader refuses on purpose; args[0] = the code's name."""


def last(obj, key):
    found = [v for k, v in obj if k == key]
    return found[-1] if found else MISSING


def text_bytes(s):
    return "".join("\ufffd" if 0xD800 <= ord(c) < 0xE000 else c for c in s).encode()


# ---- what should be found --------------------------------------------------------------------------------------------

BLOCK_SLOTS = {
    "text": "text", "thinking": "thinking", "id": "id", "name": "name", "input": "call", "image_url": "image",
    "image": "image",
    "video_url": "video", "video": "video", "audio_url": "audio", "input_audio": "audio", "audio": "audio",
    "file": "file",
    "file_data": "file", "file_id": "file", "file_url": "file", "source": "source",
}
INNER_SLOTS = {"text": "text", "image_url": "image", "source": "source"}
TYPES = {
    "text": "text", "input_text": "text", "output_text": "text", "image_url": "image", "image": "image",
    "input_image": "image", "video_url": "video", "video": "video", "input_audio": "audio", "audio_url": "audio",
    "audio": "audio", "file": "file", "input_file": "file", "document": "file", "thinking": "thinking",
    "tool_use": "call", "tool_result": "result",
}
MEDIA_SLOTS = ("image", "video", "audio", "file", "source")


def media_value(value):
    """A string, or the last string among an object's url, data, ..."""
    if isinstance(value, str):
        return value
    if isinstance(value, Obj):
        found = [v for k, v in value if k in ("url", "data", "file_data", "file_id") and isinstance(v, str)]
        return found[-1] if found else None
    return None


def block_slots(block, names):
    slots = {}
    for key, value in block:
        slot = names.get(key)
        if slot is None:
            continue
        slots.pop(slot, None)
        if slot == "call":
            slots[slot] = value
        elif slot in MEDIA_SLOTS:
            if media_value(value) is not None:
                slots[slot] = media_value(value)
        elif isinstance(value, str):
            slots[slot] = value
    return slots


def texts(*values):
    return [(TEXT, 0, v) for v in values if v]


def block_segments(block, inner, system):
    if isinstance(block, str):
        return texts(block)
    if not isinstance(block, Obj):
        return []
    slots = block_slots(block, INNER_SLOTS if inner else BLOCK_SLOTS)
    kind = last(block, "type")
    if isinstance(kind, str):
        kind = TYPES.get(kind, "other")
    else:
        kind = next((k for k in ("text", "image", "video", "audio") if k in slots), "other")
    if kind == "result":
        content = MISSING if inner else last(block, "content")
        if isinstance(content, str):
            return texts(content)
        return [s for b in content for s in block_segments(b, True, system)] if is_list(content) else []
    if kind == "text":
        text = slots.get("text")
        return [] if text and system and text.startswith("x-anthropic-billing-header") else texts(text)
    if kind == "thinking":
        return texts(slots.get("thinking"))
    if kind == "call":
        return texts(slots.get("id"), slots.get("name")) + ([(TOOLS, 0, slots["call"])] if "call" in slots else [])
    if kind in MEDIA_SLOTS:
        value = slots.get(kind, slots.get("source"))
        return [(MEDIA, 0, value)] if value else []
    return []


def is_list(value):
    return isinstance(value, list) and not isinstance(value, Obj)


def content_segments(content, system=False):
    if isinstance(content, str):
        return texts(content)
    return [s for b in content for s in block_segments(b, False, system)] if is_list(content) else []


def message_segments(message, dialect):
    if not isinstance(message, Obj):
        return []
    keys = ("content", "arguments", "output") if dialect == RESPONSES else ("content",)
    content = [v for k, v in message if k in keys]
    role = last(message, "role")
    out = [(ROLE, 0, role)] if isinstance(role, str) and role else []
    return out + (content_segments(content[-1]) if content else [])


def checked_ids(values):
    for v in values:
        if not isinstance(v, Num) or not v.is_plain():
            raise Refused("LLMD_E_TYPE")
        if not 0 <= int(v.text) < 2**32:
            raise Refused("LLMD_E_RANGE")
    return [int(v.text) for v in values]


def prompt_segments(value, only_ids):
    if isinstance(value, str):
        return [] if only_ids else [(TEXT, 0, value)]
    out, kind = [], None
    for i, item in enumerate(value if is_list(value) else []):
        if isinstance(item, str):
            if kind is list or only_ids:
                raise Refused("LLMD_E_TYPE")
            kind = str
            out.append((TEXT, len(out), item))
        elif isinstance(item, Num):
            if kind:
                raise Refused("LLMD_E_TYPE")
            return [(IDS, 0, checked_ids(value[i:]))]
        elif is_list(item):
            if kind is str:
                raise Refused("LLMD_E_TYPE")
            kind = list
            out.append((IDS, len(out), checked_ids(item)))
    return out


PROMPT_KEY = {COMPLETIONS: "prompt", EMBEDDINGS: "input", SGLANG: "text"}
IDS_KEY = {SGLANG: "input_ids", VLLM: "token_ids"}
SYSTEM_KEY = {ANTHROPIC: "system", RESPONSES: "instructions"}
MESSAGES_KEY = {CHAT: "messages", ANTHROPIC: "messages", EMBEDDINGS: "messages", RESPONSES: "input"}


def section(root, key, read):
    """Every occurrence is read, the last one counts."""
    found = [read(v) for k, v in root if key is not None and k == key]
    return found[-1] if found else []


def expected_segments(root, dialect):
    ids = section(root, IDS_KEY.get(dialect), lambda v: prompt_segments(v, True))
    prompt = section(root, PROMPT_KEY.get(dialect), lambda v: prompt_segments(v, False))
    if ids or prompt:
        return ids or prompt
    tools = last(root, "tools") if dialect in (CHAT, RESPONSES, ANTHROPIC) else MISSING
    out = [(TOOLS, 0, tools)] if is_list(tools) and tools else []
    out += section(root, SYSTEM_KEY.get(dialect), lambda v: content_segments(v, True))
    messages = last(root, MESSAGES_KEY.get(dialect))
    if dialect == RESPONSES and isinstance(messages, str):
        return out + texts(messages)
    return out + [s for m in messages for s in message_segments(m, dialect)] if is_list(messages) else out


def attached(value):
    if is_list(value):
        return any(attached(v) for v in value)
    return isinstance(value, Obj) or (isinstance(value, str) and value != "")


def limited(value):
    """(value within int64 or None, was it cut)"""
    v = value.whole() if isinstance(value, Num) else None
    if v is None:
        return None, False
    return max(-INT64, min(INT64 - 1, v)), not -INT64 <= v < INT64


def limits(root, dialect):
    if dialect in (VLLM, SGLANG):
        found = [MISSING]
        name = "max_tokens" if dialect == VLLM else "max_new_tokens"
        for k, v in root:
            if k == "sampling_params" and isinstance(v, Obj):
                found += [n for key, n in v if key == name]
        return [found[-1]]
    names = {CHAT: ["max_completion_tokens", "max_tokens"], COMPLETIONS: ["max_tokens"], OTHER: ["max_tokens"],
             ANTHROPIC: ["max_tokens"], RESPONSES: ["max_output_tokens"]}
    return [last(root, n) for n in names.get(dialect, [])]


def expected(root, dialect):
    want = {"segments": expected_segments(root, dialect), "max_tokens": -1}
    for name, key in (("model", "model"), ("salt", "extra_key" if dialect == SGLANG else "cache_salt"),
                      ("lora", "lora_path" if dialect == SGLANG else None)):
        value = last(root, key)
        want[name] = text_bytes(value).hex() if isinstance(value, str) else None
    want["priority"], cut = limited(last(root, "priority"))
    want["priority"] = want["priority"] or 0
    for value in reversed(limits(root, dialect)):
        v, over = limited(value)
        if v is not None and v >= 0:
            want["max_tokens"] = v
            cut |= over
    flags = STREAM if last(root, "stream") is True else 0
    beside = {SGLANG: ("image_data", "video_data", "audio_data"), VLLM: ("features",)}.get(dialect, ())
    if any(k in beside and attached(v) for k, v in root) or any(s[0] == MEDIA for s in want["segments"]):
        flags |= MULTIMODAL
    if want["segments"] and want["segments"][0][0] == IDS:
        flags |= TOKEN_IDS
    want["flags"] = flags | 1 | (SATURATED if cut else 0)
    return want


# ---- what the edited body should be ----------------------------------------------------------------------------------

CARRIERS = ("sampling_params", "vllm_xargs", "extra_args", "extra_body")


FORBIDDEN = ("kv_transfer_params", "ec_transfer_params", "disaggregated_params", "data_parallel_rank",
             "disagg_prefill_dp_rank", "routed_dp_rank")


def forbidden(key):
    key = text_bytes(key).decode()
    return key in FORBIDDEN or key.startswith("bootstrap_") or (
        key.startswith("mm_") and key != "mm_processor_kwargs")


def cleaned(value, level):
    if is_list(value):
        return [cleaned(v, level) for v in value]
    if not isinstance(value, Obj) or level > 4:
        return value
    return Obj((k, cleaned(v, level + 1) if k in CARRIERS else v) for k, v in value if not forbidden(k))


def edited(root, dialect):
    out = cleaned(root, 1)
    if any(k == "model" for k, _ in out):
        value = last(out, "model")
        if isinstance(value, str) and value == "rewritten":
            return out
        return Obj((k, "rewritten" if k == "model" else v) for k, v in out)
    return out if dialect == SGLANG else Obj([("model", "rewritten")] + out)


# ---- json's verdict --------------------------------------------------------------------------------------------------

def depth(value):
    stack, most = [(value, 1)], 0
    while stack:
        v, d = stack.pop()
        if isinstance(v, list):
            most = max(most, d)
            stack += [(x[1] if isinstance(v, Obj) else x, d + 1) for x in v]
    return most


def parse(body):
    """(tree, reasons for which a strict reader may refuse it); raises ValueError when json refuses it."""
    odd = []
    tree = json.loads(body.decode("utf-8"), object_pairs_hook=Obj, parse_int=Num, parse_float=Num,
                      parse_constant=lambda s: odd.append(s))
    reasons = {}
    if odd:
        reasons["NaN or Infinity, which are not JSON"] = "LLMD_E_SYNTAX"
    if depth(tree) > 64:
        reasons["nested deeper than 64"] = "LLMD_E_DEPTH"
    if not isinstance(tree, Obj):
        reasons["the document is not an object"] = "LLMD_E_TYPE"
    return tree, reasons


# ---- bodies ----------------------------------------------------------------------------------------------------------

SCRAPS = [
    rb'\ud800', rb'\udc00', rb'\ud83d\ude00', rb'\u0000', rb'\n', rb'\/', b'\\', b'"', b'NaN', b'-Infinity',
    b'1e999', b'-0', b'00',
    b'1.', b'1E+2', b'9223372036854775807', b'18446744073709551616', b'{}', b'[]', b'[[[[', b']]', b'}', b'{', b',',
    b':', b' ', b'\t',
    b'null', b'true', b'fals', b'\xef\xbb\xbf', b'\xc0\xaf', b'\xed\xa0\x80', b'\xf4\x90\x80\x80', b'\xe4\xb8',
    b'\xff', b'\x00', b'\x1f', b'\x7f',
    b'"model":"z",', b',"model":null', b'"kv_transfer_params":{},', b',"mm_a":1', b'"bootstrap_host":"h"',
    b'"role":"r",',
    b'"content":"c",', b'"type":"text",', b'"prompt":"p",', b'"messages":[],', b'1,2,3', b'"a","b"', b'[1],[2]',
    b'0.5', b'-1', b'4294967296',
    '中'.encode(), '\U0001f600'.encode(), 'é'.encode(),
]


def random_text(rng):
    parts = ["word", " ", "a", "\n", '"', "\\", "中文", "\U0001f600", "é", "/", "\x00", "tail of some length, plain",
             "\x7f", "x" * rng.randrange(70)]
    return "".join(rng.choice(parts) for _ in range(rng.randrange(6)))


def write_string(rng, s):
    out = []
    for c in s:
        n = ord(c)
        if rng.random() < 0.06:
            units = c.encode("utf-16-be")
            out.append("".join("\\u%02x%02x" % (units[i], units[i + 1]) for i in range(0, len(units), 2)))
        elif c in '"\\':
            out.append("\\" + c)
        elif n < 32:
            out.append({"\n": "\\n", "\t": "\\t"}.get(c, "\\u%04x" % n))
        elif c == "/" and rng.random() < 0.3:
            out.append("\\/")
        else:
            out.append(c)
    return '"' + "".join(out) + '"'


def blank(rng):
    return rng.choice(["", "", "", "", " ", "\n", "\t ", "\r\n"])


def write(rng, value):
    """JSON of a tree (Obj, list, str, int, raw text as bytes), with random blanks and escapes."""
    if isinstance(value, Obj):
        members = [write_string(rng, k) + blank(rng) + ":" + blank(rng) + write(rng, v) for k, v in value]
        return "{" + ",".join(blank(rng) + m + blank(rng) for m in members) + blank(rng) + "}"
    if isinstance(value, list):
        return "[" + ",".join(blank(rng) + write(rng, v) + blank(rng) for v in value) + blank(rng) + "]"
    if isinstance(value, str):
        return write_string(rng, value)
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(value)


def random_value(rng, level=0):
    pick = rng.randrange(8 if level < 4 else 5)
    if pick < 2:
        return random_text(rng)
    if pick == 2:
        return rng.choice([0, 1, -1, 2**31, 2**53 + 1, 2**63 - 1, 2**63, -2**63 - 1, 10**30])
    if pick == 3:
        return rng.choice([None, True, False])
    if pick == 4:
        return rng.randrange(100000)
    if pick == 5:
        return [random_value(rng, level + 1) for _ in range(rng.randrange(4))]
    if pick == 6:
        return [rng.randrange(2**32) if rng.random() < 0.1 else rng.randrange(150000) for _ in range(rng.randrange(30))]
    names = ["model", "a", "role", "content", "type", "text", "url", "kv_transfer_params", "mm_x", "sampling_params",
             "max_tokens", "max_new_tokens"]
    return Obj((rng.choice(names), random_value(rng, level + 1)) for _ in range(rng.randrange(4)))


def random_block(rng, level=0):
    kinds = list(TYPES) + ["refusal"]
    pairs = [("type", rng.choice(kinds))] if rng.random() < 0.9 else []
    for key in rng.sample(list(BLOCK_SLOTS), rng.randrange(4)):
        pairs.append((key, rng.choice([random_text(rng), Obj([("url", random_text(rng))]), random_value(rng, 3)])))
    if level == 0 and rng.random() < 0.3:
        pairs.append(("content", rng.choice([random_text(rng), [random_block(rng, 1) for _ in range(2)]])))
    if rng.random() < 0.5:
        pairs.append(("text", random_text(rng)))
    rng.shuffle(pairs)
    return Obj(pairs)


def random_content(rng):
    return random_text(rng) if rng.random() < 0.5 else [random_block(rng) for _ in range(rng.randrange(3))]


def random_message(rng):
    pairs = [("role", rng.choice(["user", "assistant", "system", ""])), ("content", random_content(rng))]
    if rng.random() < 0.5:
        pairs.append((rng.choice(["role", "content", "output", "name"]), rng.choice([random_text(rng), None, 3])))
    rng.shuffle(pairs)
    return Obj(pairs)


def random_ids(rng):
    return [rng.randrange(10**rng.randrange(1, 10)) for _ in range(rng.randrange(40))]


def random_prompt(rng):
    makers = [random_text, lambda g: [random_text(g) for _ in range(g.randrange(4))], random_ids,
              lambda g: [random_ids(g) for _ in range(g.randrange(4))]]
    return rng.choice(makers)(rng)


def generated(rng):
    dialect = rng.choice(list(PATHS))
    makers = {
        "model": lambda: random_text(rng), "messages": lambda: [random_message(rng) for _ in range(rng.randrange(4))],
        "prompt": lambda: random_prompt(rng),
        "input": lambda: [random_message(rng)] if dialect == RESPONSES else random_prompt(rng),
        "text": lambda: random_prompt(rng), "input_ids": lambda: random_ids(rng), "token_ids": lambda: random_ids(rng),
        "tools": lambda: [random_value(rng)], "system": lambda: random_content(rng),
        "instructions": lambda: random_content(rng),
        "max_tokens": lambda: rng.randrange(5000), "max_completion_tokens": lambda: rng.choice([1, None, -1, "x", 7]),
        "max_output_tokens": lambda: 12, "stream": lambda: rng.choice([True, False, None]),
        "priority": lambda: random_value(rng, 9),
        "cache_salt": lambda: random_text(rng), "extra_key": lambda: random_text(rng),
        "lora_path": lambda: random_text(rng),
        "features": lambda: random_value(rng), "image_data": lambda: random_value(rng),
        "sampling_params": lambda: Obj([("max_tokens", 4), ("max_new_tokens", 5), ("mm_x", 1)][rng.randrange(3):]),
        "kv_transfer_params": lambda: random_value(rng), "bootstrap_host": lambda: random_text(rng),
        "mm_hashes": lambda: [],
        "extra_body": lambda: random_value(rng), "vllm_xargs": lambda: Obj([("kv_transfer_params", 1)]),
        "other": lambda: random_value(rng),
        "mm_processor_kwargs": lambda: Obj(), "ec_transfer_params": lambda: None,
    }
    names = rng.sample(list(makers), 4) if rng.random() < 0.3 else list(makers)  # few names: many come again
    keys = [rng.choice(names) for _ in range(rng.randrange(9))]
    return dialect, write(rng, Obj((k, makers[k]()) for k in keys)).encode("utf-8", "surrogatepass")


def mutated(rng, pool):
    dialect, body = rng.choice(pool)
    body = bytearray(body)
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        at = rng.randrange(len(body) + 1)
        pick = rng.randrange(8)
        if pick == 0 and body:
            body[at % len(body)] ^= 1 << rng.randrange(8)
        elif pick == 1:
            del body[at:at + rng.randrange(1, 12)]
        elif pick in (2, 3, 4):
            body[at:at] = rng.choice(SCRAPS)
        elif pick == 5:
            scrap = rng.choice(SCRAPS)
            body[at:at + len(scrap)] = scrap
        elif pick == 6:
            other = rng.choice(pool)[1]
            start = rng.randrange(len(other) + 1)
            body[at:at] = other[start:start + rng.randrange(1, 40)]
        else:
            # between two members, where a whole member may go
            spots = [i for i, c in enumerate(body) if c in b",{"]
            if spots:
                body[spots[at % len(spots)] + 1:spots[at % len(spots)] + 1] = rng.choice(SCRAPS)
    return dialect, bytes(body)


def seeds(corpus):
    """The bodies of the corpus that are not meant to be cut off. The first byte chooses the path, as in fuzz/body.c."""
    out = []
    for name in sorted(os.listdir(corpus)):
        with open(os.path.join(corpus, name), "rb") as f:
            data = f.read()
        if len(data) > 2 and data[0] < 0x80 and data[0] % 9 + 1 in PATHS:
            out.append((data[0] % 9 + 1, data[2:]))
    return out


def bodies(corpus, count, seed):
    rng = random.Random(seed)
    pool = seeds(corpus)
    out = list(pool)
    out += [(CHAT, b'{"messages":' + b"[" * n + b"]" * n + b"}") for n in (62, 63, 64, 65, 200)]
    out += [(CHAT, b'{"a":' * n + b"1" + b"}" * n) for n in (63, 64, 65, 2000)]
    small = [b"", b" ", b"{}", b"[]", b'"x"', b"1", b"{}x", b"{} \n", b"\xef\xbb\xbf{}", b'{"a":NaN}']
    out += [(d, b) for d in PATHS for b in small]
    out += [(COMPLETIONS, b'{"prompt":[' + b",".join(b"%d" % (i * 7919 % 151000) for i in range(2000)) + b"]}")]
    for _ in range(count // 4):
        out.append(generated(rng))
        if rng.random() < 0.05 and len(out[-1][1]) < 2000:
            pool.append(out[-1])
    while len(out) < count:
        out.append(mutated(rng, pool))
    return out


# ---- comparing -------------------------------------------------------------------------------------------------------

def block(data):
    return struct.pack("<I", len(data)) + data


def run(dump, cases):
    text = b"".join(block(PATHS[d].encode()) + block(b) for d, b in cases)
    runner = shlex.split(os.environ.get("MESON_EXE_WRAPPER", ""))  # the build may be for another machine
    done = subprocess.run(runner + [dump], input=text, stdout=subprocess.PIPE, check=True)
    lines = done.stdout.decode().splitlines()
    if len(lines) != len(cases):
        raise SystemExit("Bail out! the dump gave %d lines for %d bodies" % (len(lines), len(cases)))
    return [json.loads(line) for line in lines]


def loaded(raw):
    return json.loads(raw.decode(), object_pairs_hook=Obj, parse_int=Num, parse_float=Num)


def check_segments(want, got):
    if len(want) != len(got):
        return "%d segments, expected %d" % (len(got), len(want))
    for (kind, prompt, value), g in zip(want, got):
        raw = bytes.fromhex(g["raw"])
        if (kind, prompt) != (g["kind"], g["prompt"]):
            return "a segment of kind %d in prompt %d, expected %d in %d" % (g["kind"], g["prompt"], kind, prompt)
        if kind == IDS:
            same = [int(n.text) for n in loaded(raw)[-len(value):]] == value if value else loaded(raw) == []
        elif kind == TOOLS:
            same = loaded(raw) == value
        else:
            same = loaded(b'"' + raw + b'"') == value and g["escaped"] == (b"\\" in raw)
        if not same:
            return "segment %r, expected %r" % (raw, value)
    return None


def padded(data):
    return data + b"\0" * (-len(data) % 4)


def check_tokens(want, got):
    """Real ids as they are; else the text of each prompt, four bytes a token. Media are not worked out here."""
    segments = want["segments"]
    if not segments:
        return None if got["tokens_kind"] < 0 and got["count"] == 0 else "tokens without a prompt"
    if any(s[0] == MEDIA for s in segments):
        return None if got["cut"] or got["count"] == got["ends"][-1] else "the count differs from the tokens"
    prompts = []
    for (kind, prompt, value), g in zip(segments, got["segments"]):
        if prompt == len(prompts):
            prompts.append(b"")
        if kind == IDS:
            prompts[prompt] += struct.pack("<%dI" % len(value), *value)
        else:
            prompts[prompt] += bytes.fromhex(g["raw"]) if kind == TOOLS else text_bytes(value)
    data = b"".join(map(padded, prompts))
    ends, at = [], 0
    for p in prompts:
        at += len(padded(p)) // 4
        ends.append(at)
    if got["tokens_kind"] != (1 if segments[0][0] == IDS else 2):
        return "tokens of kind %d" % got["tokens_kind"]
    if got["count"] != at:
        return "%d tokens counted, expected %d" % (got["count"], at)
    if got["cut"]:
        return None
    if got["ends"] != ends or bytes.fromhex(got.get("tokens", "")) != data:
        return "tokens differ"
    return None


def compare(dialect, body, got, explained):
    """None, or (check, what is wrong)."""
    if not got["split"]:
        return "split", "whole and in pieces differ"
    try:
        tree, reasons = parse(body)
    except (ValueError, RecursionError):
        return None if got["error"] != "LLMD_OK" or not body else ("verdict", "accepted, but json refuses it")
    try:
        want = None if reasons else expected(tree, dialect)
    except Refused as why:
        reasons["an id that is none, or a list of mixed kinds"] = why.args[0]
    if got["error"] != "LLMD_OK":
        for reason, code in reasons.items():
            if got["error"] == code:
                explained[reason] = explained.get(reason, 0) + 1
                return None
        return "verdict", "refused with %s at %d, but json accepts it" % (got["error"], got["offset"])
    if reasons:
        return "verdict", "accepted in spite of: " + "; ".join(reasons)
    for name in ("model", "salt", "lora", "max_tokens", "priority", "flags"):
        if got.get(name) != want[name]:
            return "fields", "%s is %r, expected %r" % (name, got.get(name), want[name])
    problem = check_segments(want["segments"], got["segments"])
    if problem:
        return "segments", problem
    problem = check_tokens(want, got)
    if problem:
        return "tokens", problem
    try:
        after = loaded(bytes.fromhex(got["edited"]))
    except ValueError as error:
        return "edits", "the edited body is not JSON: %s" % error
    if after != edited(tree, dialect):
        return "edits", "the edited body is %r" % bytes.fromhex(got["edited"])
    return None


CHECKS = {
    "verdict": "accepted and refused bodies agree with json", "split": "whole and in pieces, every body reads the same",
    "fields": "model, salt, limits and flags agree", "segments": "prompt text, roles, tools, ids and media agree",
    "tokens": "tokens and pseudo tokens agree", "edits": "edits leave the same body, less what was forbidden",
}


def main():
    args = argparse.ArgumentParser()
    args.add_argument("dump")
    args.add_argument("corpus")
    args.add_argument("--mutants", type=int, default=20000)
    args.add_argument("--seed", type=int, default=3)
    args.add_argument("--show", type=int, default=3)
    args = args.parse_args()
    if hasattr(sys, "set_int_max_str_digits"):
        sys.set_int_max_str_digits(0)
    cases, failures, explained, accepted = bodies(args.corpus, args.mutants, args.seed), {}, {}, 0
    for start in range(0, len(cases), 5000):
        part = cases[start:start + 5000]
        for (dialect, body), got in zip(part, run(args.dump, part)):
            accepted += got["error"] == "LLMD_OK"
            problem = compare(dialect, body, got, explained)
            if problem:
                failures.setdefault(problem[0], []).append((dialect, body, problem[1]))
    print("TAP version 13\n1..%d" % len(CHECKS))
    print("# %d bodies, %d of them accepted" % (len(cases), accepted))
    for reason, n in sorted(explained.items()):
        print("# %d refused on purpose: %s" % (n, reason))
    for number, (check, title) in enumerate(CHECKS.items(), 1):
        bad = failures.get(check, [])
        print("%sok %d - %s" % ("not " if bad else "", number, title))
        for dialect, body, what in bad[:args.show]:
            print("# %s: %s: %r" % (PATHS[dialect], what, body[:400]))
        if len(bad) > args.show:
            print("# and %d more" % (len(bad) - args.show))
    return 1 if failures else 0


sys.exit(main())
