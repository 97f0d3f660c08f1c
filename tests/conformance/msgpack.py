"""Reads MessagePack, as far as events need it: no extension types."""
import struct

FIXED = {0xca: '>f', 0xcb: '>d', 0xcc: '>B', 0xcd: '>H', 0xce: '>I', 0xcf: '>Q', 0xd0: '>b', 0xd1: '>h', 0xd2: '>i', 0xd3: '>q'}
BYTES = {0xc4: '>B', 0xc5: '>H', 0xc6: '>I'}
TEXT = {0xd9: '>B', 0xda: '>H', 0xdb: '>I'}
ARRAY = {0xdc: '>H', 0xdd: '>I'}
MAP = {0xde: '>H', 0xdf: '>I'}
SIMPLE = {0xc0: None, 0xc2: False, 0xc3: True}


class Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, n):
        piece = self.data[self.at:self.at + n]
        if len(piece) != n:
            raise ValueError('ends too early')
        self.at += n
        return piece

    def number(self, form):
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def text(self, n):
        return self.take(n).decode('utf-8')

    def array(self, n):
        return [self.value() for _ in range(n)]

    def map(self, n):
        return {self.value(): self.value() for _ in range(n)}

    def value(self):
        lead = self.number('>B')
        if lead < 0x80 or lead >= 0xe0:
            return lead if lead < 0x80 else lead - 256
        for most, read, mask in ((0x90, self.map, 15), (0xa0, self.array, 15), (0xc0, self.text, 31)):
            if lead < most:
                return read(lead & mask)
        if lead in SIMPLE:
            return SIMPLE[lead]
        if lead in FIXED:
            return self.number(FIXED[lead])
        for forms, read in ((BYTES, self.take), (TEXT, self.text), (ARRAY, self.array), (MAP, self.map)):
            if lead in forms:
                return read(self.number(forms[lead]))
        raise ValueError(f'lead byte {lead:#x}')


def decode(data):
    return Reader(data).value()
