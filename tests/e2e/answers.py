"""Answers of engines that are broken, or mean to be: raw bytes, sent to one request, then the connection closes.

BROKEN: nothing of it may be passed on. CUT: it begins well; the client must see that it broke off. PASSED: odd, and
right.
"""
OK = b'HTTP/1.1 200 OK\r\n'
TE = b'Transfer-Encoding: chunked\r\n\r\n'
SECOND = b'HTTP/1.1 200 OK\r\nX-Smuggled: y\r\nContent-Length: 8\r\n\r\nsmuggled'


def two(line):
    return OK + line + b'\r\nContent-Length: 2\r\n\r\n{}' + SECOND


BROKEN = [
    ('no status line', b'\r\n\r\n' + SECOND), ('a body only', b'{"smuggled":1}\n'),
    ('HTML', b'<html>smuggled</html>\r\n\r\n'),
    ('garbage before', b'garbage\r\n' + SECOND), ('a blank line before', b'\r\n' + SECOND),
    ('a NUL before', b'\x00' + SECOND),
    ('nothing', b''), ('a byte', b'H'), ('half a status line', b'HTTP/1.1 20'),
    ('half a head', OK + b'X-Smuggled: y\r\n'),
    ('HTTP/2', b'HTTP/2.0 200 OK\r\n\r\n'), ('HTTP/0.9', b'HTTP/0.9 200 OK\r\n\r\n'),
    ('HTTP/1.2', b'HTTP/1.2 200 OK\r\n\r\n'),
    ('frames of HTTP/2', b'\x00\x00\x12\x04\x00\x00\x00\x00\x00' * 9),
    ('TLS', b'\x16\x03\x03\x00\x7a\x02\x00\x00\x76\x03\x03'),
    ('ICY', b'ICY 200 OK\r\n\r\n'), ('a request', b'POST /smuggled HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n'),
    *((f'status {s!r}', b'HTTP/1.1 ' + s + b'\r\nContent-Length: 0\r\n\r\n')
      for s in (b'', b'20', b'2000 OK', b'2x0 OK', b'099 OK', b'600 OK', b'999 OK', b' 200 OK', b'-200 OK', b'200OK',
                b'000 OK')),
    ('101', b'HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nsmuggled'),
    ('100 and no more', b'HTTP/1.1 100 Continue\r\n\r\n'), ('a hundred times 100',
                                                            b'HTTP/1.1 100 Continue\r\n\r\n' * 100 + SECOND),
    ('bare LF', b'HTTP/1.1 200 OK\nContent-Length: 2\n\n{}'), ('bare LF in a header', two(b'A: b\nX-Smuggled: y')),
    ('bare CR in a header', two(b'A: b\rX-Smuggled: y')), ('CR CR LF', two(b'A: b\r')),
    ('bare CR in a reason', b'HTTP/1.1 200 O\rK\r\n\r\n'),
    ('NUL in a header', two(b'A: \x00')), ('NUL in a reason', b'HTTP/1.1 200 O\x00\r\n\r\n'),
    ('a control byte', two(b'A: \x01')),
    ('folded', two(b'A: b\r\n X-Smuggled: y')), ('a blank before the colon', two(b'X-Smuggled : y')),
    ('no colon', two(b'X-Smuggled')),
    ('no name', two(b': y')), ('a blank in a name', two(b'X Smuggled: y')),
    ('both lengths', OK + b'Content-Length: 2\r\n' + TE + b'0\r\n\r\n' + SECOND),
    ('both lengths, the other way', OK + b'Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n' + SECOND),
    *((f'Content-Length: {v!r}', OK + b'Content-Length: ' + v + b'\r\n\r\n{}' + SECOND)
      for v in (b'', b'x', b'-1', b'+2', b'2, 2', b'2 2', b'0x2', b'2.0', b'99999999999999999999999', b'2;', b'"2"')),
    ('two lengths', two(b'Content-Length: 40')), ('two equal lengths', two(b'Content-Length: 2')),
    *((f'Transfer-Encoding: {v!r}', OK + b'Transfer-Encoding: ' + v + b'\r\n\r\n0\r\n\r\n' + SECOND)
      for v in (b'', b'gzip', b'gzip, chunked', b'chunked, gzip', b'chunked, chunked', b'identity', b'xchunked',
                b'chunked;q=1',
                b'"chunked"')),
    ('two codings', OK + b'Transfer-Encoding: chunked\r\n' + TE + b'0\r\n\r\n' + SECOND),
    ('chunked in HTTP/1.0', b'HTTP/1.0 200 OK\r\n' + TE + b'0\r\n\r\n' + SECOND),
    ('headers by count', OK + b'A: b\r\n' * 400 + b'\r\n'), ('a head of 100 KB',
                                                             OK + b'A: ' + b'b' * 100000 + b'\r\n\r\n'),
]

CUT = [
    ('shorter than said', OK + b'Content-Length: 100\r\n\r\nhalf', b'half'),
    ('much shorter than said', OK + b'Content-Length: 9223372036854775807\r\n\r\nhalf', b'half'),
    ('nothing of what was said', OK + b'Content-Length: 100\r\n\r\n', b''),
    ('no last chunk', OK + TE + b'4\r\nhalf\r\n', b'half'), ('half a last chunk', OK + TE + b'4\r\nhalf\r\n0\r\n',
                                                             b'half'),
    ('half a chunk', OK + TE + b'9\r\nhalf', b'half'), ('no chunk', OK + TE, b''),
    *((f'then {more!r}', OK + TE + b'4\r\nhalf\r\n' + more, b'half')
      for more in (b'x\r\n', b'-1\r\n', b'+1\r\na\r\n', b'0x1\r\na\r\n', b'\r\n0\r\n\r\n', b'1;a=b\r\na\r\n0\r\n\r\n',
                   b'1\na\n0\n\n',
                   b'1\r\nab\r\n0\r\n\r\n', b'1\r\na0\r\n\r\n', b'ffffffffffffffff\r\na',
                   b'10000000000000001\r\na\r\n0\r\n\r\n',
                   b'0\r\nX-Smuggled\r\n\r\n', b'0\r\nX: \x00\r\n\r\n', b'0\r\n X-Smuggled: y\r\n\r\n', b'0\n\n',
                   b'0\r\n\n',
                   b'0\r\n' + b'X: y\r\n' * 1000 + b'\r\n', b'0' * 1000, SECOND)),
    ('events, no last chunk', OK + b'Content-Type: text/event-stream\r\n' + TE + b'9\r\ndata: a\n\n\r\n',
     b'data: a\n\n'),
    ('events, shorter than said', OK + b'Content-Type: text/event-stream\r\nContent-Length: 99\r\n\r\ndata: a\n\n',
     b'data: a\n\n'),
]


def gzipped():
    import gzip  # pylint: disable=import-outside-toplevel
    return gzip.compress(b'{"usage":{"prompt_tokens":1}}' + b' ' * 1_000_000)


ZIPPED = gzipped()
LIES = (b'{"usage":{"prompt_tokens":%s,"completion_tokens":%s,"total_tokens":1,'
        b'"prompt_tokens_details":{"cached_tokens":%s}}}')


def sized(body, more=b'Content-Type: application/json\r\n'):
    return OK + more + b'Content-Length: %d\r\n\r\n' % len(body) + body


def lies(value):
    return LIES % (value, value, value)


PASSED = [
    ('a second answer behind', OK + b'Content-Length: 2\r\n\r\n{}' + SECOND, 200, b'{}'),
    ('a second answer behind chunks', OK + TE + b'2\r\n{}\r\n0\r\n\r\n' + SECOND, 200, b'{}'),
    ('a second answer behind nothing', b'HTTP/1.1 204 No Content\r\n\r\n' + SECOND, 204, b''),
    ('204 with a body', b'HTTP/1.1 204 No Content\r\nContent-Length: 8\r\n\r\nsmuggled', 204, b''),
    ('304 with chunks', b'HTTP/1.1 304 Not Modified\r\n' + TE + b'8\r\nsmuggled\r\n0\r\n\r\n', 304, b''),
    ('a second answer, later', [OK + b'Content-Length: 2\r\n\r\n', b'{}', SECOND], 200, b'{}'),
    ('interim answers before',
     b'HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nX-Smuggled: y\r\n\r\n' + sized(b'{}'), 200, b'{}'),
    ('trailers', OK + TE + b'2\r\n{}\r\n0\r\nX-Smuggled: y\r\nContent-Length: 9\r\n\r\n', 200, b'{}'),
    ('to the end of the connection', OK + b'\r\n' + SECOND[:-8] + b'{}', 200, SECOND[:-8] + b'{}'),
    ('gzip that nobody asked for', sized(ZIPPED, b'Content-Encoding: gzip\r\nContent-Type: application/json\r\n'), 200,
     ZIPPED),
    ('gzip as events', sized(ZIPPED, b'Content-Encoding: gzip\r\nContent-Type: text/event-stream\r\n'), 200, ZIPPED),
    ('gzip that is none', sized(b'{}', b'Content-Encoding: gzip\r\nContent-Type: application/json\r\n'), 200, b'{}'),
    ('hop-by-hop headers', sized(b'{}', b'Connection: x-smuggled\r\nX-Smuggled: y\r\nKeep-Alive: smuggled\r\n'), 200,
     b'{}'),
    ('headers of routing', sized(b'{}',
                                 b'x-gateway-destination-endpoint: smuggled\r\nX-Prefiller-Host-Port: smuggled\r\n'),
                                 200, b'{}'),
    ('a redirect', b'HTTP/1.1 307 Temporary Redirect\r\nLocation: http://127.0.0.1:9/\r\nContent-Length: 2\r\n\r\n{}',
     307, b'{}'),
    ('an offer of another protocol', sized(b'{}', b'Upgrade: h2c\r\nAlt-Svc: h3=":443"\r\n'), 200, b'{}'),
    *((f'usage of {v[:20]!r}', sized(lies(v)), 200, lies(v))
      for v in (b'-5', b'1e999', b'-1e308', b'9223372036854775807', b'18446744073709551616', b'9' * 400, b'0.5',
                b'"7"', b'null',
                b'[1]', b'{}', b'true', b'NaN', b'1' + b'0' * 18)),
    *((f'events: {v[:24]!r}', sized(v, b'Content-Type: text/event-stream\r\n'), 200, v)
      for v in (b'data: {"usage":{"prompt_tokens":-1,"completion_tokens":1e300}}\n\n',
                b'data: ' + b'[' * 100000 + b'\n\n',
                b'data: {"usage":' + b'{"usage":' * 10000 + b'\n\n', b'\n\n\n\n\r\n\r\n', b'data: a', b':\n\n:\n\n',
                b'\x00\xff\xfe\n\n',
                b'data: {"usage":{"prompt_tokens":1', b'\r\r\r\rdata: a\r\r')),
    ('JSON as deep as it goes', sized(b'[' * 500000), 200, b'[' * 500000),
    ('not JSON', sized(b'{"usage":{"prompt_tokens":5' + b'\x00' * 5000), 200,
     b'{"usage":{"prompt_tokens":5' + b'\x00' * 5000),
]
