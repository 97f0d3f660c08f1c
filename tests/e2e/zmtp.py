"""ZMTP 3.0 as far as a subscriber and somebody who asks for a replay need it: NULL mechanism, over TCP."""
import socket
import struct

GREETING = b'\xff' + bytes(8) + b'\x7f\x03\x00' + b'NULL'.ljust(20, b'\0') + b'\0' + bytes(31)


class Socket:
    """kind: b'SUB' or b'DEALER'; address: tcp://host:port."""

    def __init__(self, kind, address, seconds=20):
        host, port = address[len('tcp://'):].rsplit(':', 1)
        self.socket = socket.create_connection((host, int(port)), timeout=seconds)
        self.socket.sendall(GREETING)
        self.take(64)
        name = b'Socket-Type'
        ready = b'\x05READY' + bytes([len(name)]) + name + struct.pack('>I', len(kind)) + kind
        self.frame(ready, 4)
        flags, _ = self.read()
        if not flags & 4:
            raise ValueError('READY expected')

    def take(self, n):
        data = b''
        while len(data) < n:
            piece = self.socket.recv(n - len(data))
            if not piece:
                raise ConnectionError('closed')
            data += piece
        return data

    def frame(self, data, flags):
        if len(data) > 255:
            self.socket.sendall(bytes([flags | 2]) + struct.pack('>Q', len(data)) + data)
        else:
            self.socket.sendall(bytes([flags, len(data)]) + data)

    def read(self):
        flags = self.take(1)[0]
        n = struct.unpack('>Q', self.take(8))[0] if flags & 2 else self.take(1)[0]
        return flags, self.take(n)

    def send(self, parts):
        for i, part in enumerate(parts):
            self.frame(part, 1 if i + 1 < len(parts) else 0)

    def receive(self):
        """The frames of the next message."""
        parts = []
        while True:
            flags, data = self.read()
            if flags & 4:  # a command, such as PING
                continue
            parts.append(data)
            if not flags & 1:
                return parts

    def subscribe(self, topic=b''):
        self.send([b'\x01' + topic])

    def close(self):
        self.socket.close()
