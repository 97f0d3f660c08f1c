"""Requests that no server should take: what smuggles or splits (RFC 9112 §11), and whatever is not HTTP/1.1.

WAYS: (name, status of the refusal, bytes). Each hides `GET /smuggled` or a header `X-Smuggled` where there is room for
it: neither may ever reach an engine.
"""
H = b'Host: x\r\n'
GET = b'GET /v1/models HTTP/1.1\r\n'
POST = b'POST /v1/chat/completions HTTP/1.1\r\n'
TE = b'Transfer-Encoding: chunked\r\n'
EVIL = b'GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n'
BODY = b'{"messages":[]}'
LAST = b'0\r\n\r\n'


def cl(n):
    return b'Content-Length: %s\r\n' % (n if isinstance(n, bytes) else b'%d' % n)


def lengths():
    """Two opinions about where a body ends."""
    post, end = POST + H, b'\r\n'
    yield 'CL.TE', 400, post + cl(len(LAST) + len(EVIL)) + TE + end + LAST + EVIL
    yield 'TE.CL', 400, post + TE + cl(4) + end + b'%x\r\n' % len(EVIL) + EVIL + b'\r\n' + LAST
    yield 'CL.TE, length 0', 400, post + cl(0) + TE + end + LAST + EVIL
    yield ('CL.TE, names in other cases', 400,
           post + b'content-LENGTH: 5\r\ntRANSFER-encoding: chunked\r\n\r\n' + LAST + EVIL)
    yield 'CL.TE on HTTP/1.0', 400, b'POST / HTTP/1.0\r\n' + H + cl(5) + TE + end + LAST + EVIL
    yield 'TE on HTTP/1.0', 400, b'POST / HTTP/1.0\r\n' + H + TE + end + LAST + EVIL
    yield 'CL.TE identity', 400, post + cl(4) + b'Transfer-Encoding: identity\r\n\r\nabcd' + EVIL
    yield 'CL.TE on GET', 400, GET + H + cl(5) + TE + end + LAST + EVIL
    for spelling in (b'Transfer-Encoding: xchunked', b'Transfer-Encoding: chunkedx', b'Transfer-Encoding: identity',
                     b'Transfer-Encoding: chunked, identity', b'Transfer-Encoding: identity, chunked',
                     b'Transfer-Encoding: gzip, chunked', b'Transfer-Encoding: chunked, chunked',
                     b'Transfer-Encoding: "chunked"', b'Transfer-Encoding: chunked;q=1', b'Transfer-Encoding:',
                     b'Transfer-Encoding: ,chunked', b'Transfer-Encoding: chunked,', b"Transfer-Encoding: 'chunked'",
                     b'Transfer-Encoding: chun ked', b'Transfer-Encoding: gzip', b'Transfer-Encoding: \xc2\xa0chunked'):
        yield spelling.decode('latin-1'), 501, post + spelling + b'\r\n\r\n' + LAST + EVIL
    for spelling in (b'Transfer-Encoding : chunked', b' Transfer-Encoding: chunked', b'Transfer-Encoding\t: chunked',
                     b'Transfer-Encoding: \x0bchunked', b'Transfer-Encoding: \x0cchunked',
                     b'Transfer-Encoding: chunked\x00',
                     b'Transfer-Encoding\x00: chunked', b'X: y\nTransfer-Encoding: chunked',
                     b'X: y\rTransfer-Encoding: chunked',
                     b'Transfer-Encoding: chunked\nX: y', b'Transfer-Encoding\n: chunked',
                     b'Transfer-Encoding:\n chunked',
                     b'Transfer-Encoding:\r\n chunked', b'Transfer-Encoding: chunked\r\n ',
                     b'Transfer\xadEncoding: chunked',
                     b'Transfer-Encoding;: chunked', b'"Transfer-Encoding": chunked', b'Transfer Encoding: chunked',
                     b'X\r\nTransfer-Encoding: chunked', b'\x00Transfer-Encoding: chunked'):
        yield repr(spelling), 400, post + spelling + b'\r\n' + cl(4) + b'\r\n' + LAST + EVIL
    yield 'TE.TE', 400, post + TE + TE + end + LAST + EVIL
    yield 'TE.TE, one is another', 400, post + TE + b'Transfer-encoding: cow\r\n\r\n' + LAST + EVIL
    yield 'TE.TE, the other way', 400, post + b'Transfer-Encoding: x\r\n' + TE + end + LAST + EVIL
    for value in (b'', b'+4', b'-4', b'-0', b'4, 4', b'4,5', b'4,', b'4 4', b'0x4', b'4.0', b'4e0', b'"4"', b'4;',
                  b'\x004',
                  b'4\x00', b'\xd9\xa4', b'four', b'18446744073709551620', b'18446744073709551616',
                  b'18446744073709551615', b'4\r 5', b'4\r\n 5',
                  b'00000000000000000004'):
        yield f'Content-Length: {value!r}', 400, post + cl(value) + end + b'abcd' + EVIL
    for one, other in ((4, 4), (4, 39), (0, 4), (39, 4), (b'4\r\nX: y', 5)):
        yield f'Content-Length {one} and {other}', 400, post + cl(one) + cl(other) + end + b'abcd' + EVIL
    yield 'Content-Length : 4', 400, post + b'Content-Length : 4\r\n\r\nabcd' + EVIL
    yield 'Content_Length and -', 400, post + cl(4) + b'Content-Length\x0b: 5\r\n\r\nabcd' + EVIL


def chunks():
    post = POST + H + TE + b'\r\n'
    for size in (b'x', b'', b'-1', b'+1', b' 1', b'1 ', b'0x1', b'1_0', b'1\t', b'1\x00', b'1.', b'1,1', b'\xb9',
                 b'1h', b'#1',
                 b'00000000000000001'):
        yield f'chunk size {size!r}', 400, post + size + b'\r\na\r\n' + LAST + EVIL
    for size in (b'ffffffffffffffff', b'7fffffffffffffff', b'100000000', b'1000001'):
        yield f'chunk size {size!r}', 413, post + size + b'\r\na\r\n' + LAST + EVIL
    yield 'chunk size wraps', 400, post + b'10000000000000001\r\na\r\n' + LAST + EVIL
    yield 'chunks that wrap', 413, post + b'1\r\na\r\nffffffffffffffff\r\n' + LAST + EVIL
    for more in (b';', b';a=b', b';a="b', b';\n' + EVIL[:20], b' ;a', b';a\rb', b';' + b'a' * 100):
        yield f'chunk extension {more[:12]!r}', 400, post + b'1' + more + b'\r\na\r\n' + LAST + EVIL
    yield 'chunk size, bare LF', 400, post + b'1\na\r\n' + LAST + EVIL
    yield 'chunk size, bare CR', 400, post + b'1\ra\r\n' + LAST + EVIL
    yield 'chunk size, CR CR LF', 400, post + b'1\r\r\na\r\n' + LAST + EVIL
    yield 'chunk end, bare LF', 400, post + b'1\r\na\n' + LAST + EVIL
    yield 'chunk end, bare CR', 400, post + b'1\r\na\r' + LAST + EVIL
    yield 'chunk end, none', 400, post + b'1\r\na' + LAST + EVIL
    yield 'chunk end, other bytes', 400, post + b'1\r\naXX' + LAST + EVIL
    yield 'chunk longer than said', 400, post + b'1\r\nab\r\n' + LAST + EVIL
    yield 'chunk, blank line', 400, post + b'1\r\na\r\n\r\n' + LAST + EVIL
    yield 'last chunk, bare LF', 400, post + b'1\r\na\r\n0\n\n' + EVIL
    yield 'last chunk, half', 400, post + b'1\r\na\r\n0\r\n\n' + EVIL
    yield 'last chunk, bare CR', 400, post + b'1\r\na\r\n0\r\n\r' + EVIL
    for line in (b' X: y', b'X y', b'X : y', b'X: \x00', b'X: y\n', b'X: a\rb', b': y', b'GET /smuggled HTTP/1.1',
                 b'X\x00: y'):
        yield f'trailer {line!r}', 400, post + LAST[:-2] + line + b'\r\n\r\n' + EVIL
    yield 'too many trailers', 431, post + LAST[:-2] + b''.join(b'X%d: y\r\n' % i for i in range(200)) + b'\r\n' + EVIL
    yield 'endless trailer', 431, post + LAST[:-2] + b'X: ' + b'y' * 70000


def lines():
    """Lines that another reader would end elsewhere."""
    end = b'\r\n'
    for name, data in (
            ('request line, bare LF', b'GET / HTTP/1.1\n' + H + end), ('all bare LF', b'GET / HTTP/1.1\nHost: x\n\n'),
            ('request line, CR CR LF', b'GET / HTTP/1.1\r\r\n' + H + end),
            ('LF before', b'\n' + GET + H + end), ('CR before', b'\r' + GET + H + end),
            ('two blank lines before', b'\r\n\r\n' + GET + H + end),
            ('header, bare LF', GET + b'Host: x\nX-Smuggled: y\r\n\r\n'),
            ('header, bare CR', GET + H + b'A: b\rX-Smuggled: y\r\n\r\n'),
            ('header, CR CR LF', GET + H + b'A: b\r\r\n\r\n'), ('empty line, bare LF', GET + H + b'\n' + EVIL),
            ('empty line, bare CR', GET + H + b'\r' + EVIL), ('LF LF', GET + b'Host: x\n\n' + EVIL),
            ('folded', GET + H + b'A: b\r\n X-Smuggled: y\r\n\r\n'),
            ('folded by a tab', GET + H + b'A: b\r\n\tX-Smuggled: y\r\n\r\n'),
            ('folded Host', GET + b'Host:\r\n x\r\n\r\n'), ('folded before all', GET + b' X-Smuggled: y\r\n' + H + end),
            ('folded, only blanks', GET + H + b'A: b\r\n  \r\n\r\n'),
            ('blank before the colon', GET + H + b'X-Smuggled : y\r\n\r\n'),
            ('tab before the colon', GET + H + b'X-Smuggled\t: y\r\n\r\n'),
            ('no colon', GET + H + b'X-Smuggled\r\n\r\n'), ('no name', GET + H + b': y\r\n\r\n'),
            ('a blank in a name', GET + H + b'X Smuggled: y\r\n\r\n'),
            ('brackets in a name', GET + H + b'X(a): y\r\n\r\n'),
            ('UTF-8 in a name', GET + H + 'X\u00e4: y\r\n\r\n'.encode()),
            ('NUL in a name', GET + H + b'X\x00: y\r\n\r\n'),
            ('DEL in a name', GET + H + b'X\x7f: y\r\n\r\n'),
            ('header after LF in a value', GET + H + b'x-request-id: a\nX-Smuggled: y\r\n\r\n'),
            ('answer in a value', GET + H + b'x-request-id: a\n\nHTTP/1.1 200 OK\r\n\r\n')):
        yield name, 400, data
    for code in (0, 1, 7, 8, 11, 12, 27, 31, 127):
        yield f'byte {code} in a value', 400, GET + H + b'A: b%cX-Smuggled: y\r\n\r\n' % code


def targets():
    end = H + b'\r\n'
    for line in (b'GET /', b'GET / ', b'GET / http/1.1', b'GET / HTTP/1.1 ', b'GET / HTTP/1.1 x', b'GET /a b HTTP/1.1',
                 b'GET / HTTP/11',
                 b'GET / HTTP/1.11', b'GET / HTTP/01.1', b'GET / HTTPS/1.1', b'GET  / HTTP/1.1', b'GET /  HTTP/1.1',
                 b'GET\t/ HTTP/1.1',
                 b'G@T / HTTP/1.1', b'GET/ HTTP/1.1', b' GET / HTTP/1.1', b'\x00GET / HTTP/1.1', b'GET /\x00 HTTP/1.1',
                 b'GET /\x7f HTTP/1.1', b'GET /\x0b HTTP/1.1', b'GET /\tx HTTP/1.1', b'GET /\xff HTTP/1.1',
                 b'GET /#f HTTP/1.1',
                 b'GET /\\ HTTP/1.1', b'GET /<x> HTTP/1.1', b'GET x HTTP/1.1', b'GET x:80 HTTP/1.1', b'GET * HTTP/1.1',
                 b'GET http://smuggled/ HTTP/1.1', b'GET http://x@smuggled/ HTTP/1.1',
                 b'GET http://smuggled@x/ HTTP/1.1',
                 b'GET http://x:1/ HTTP/1.1', b'GET http:///smuggled HTTP/1.1', b'GET https://x/ HTTP/1.1',
                 b'GET ftp://x/ HTTP/1.1',
                 b'GET file:///etc/passwd HTTP/1.1', b'GET http:x HTTP/1.1', b'GET http://x\\@smuggled/ HTTP/1.1',
                 b'GET /\xe2\x80\xa8 HTTP/1.1', b'', b'GET', b'HTTP/1.1 200 OK',
                 b'\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03'):
        yield f'line {line!r}', 400, line + b'\r\n' + end + (b'\r\n' if not line else b'')
    for line in (b'GET / HTTP/2.0', b'GET / HTTP/1.2', b'GET / HTTP/0.9', b'GET / HTTP/3.0', b'GET / HTTP/1.9',
                 b'GET / HTTP/0.0'):
        yield f'line {line!r}', 505, line + b'\r\n' + end
    yield 'preface of HTTP/2', 505, b'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n' + b'\x00\x00\x00\x04\x00\x00\x00\x00\x00'
    for line in (b'CONNECT smuggled:80 HTTP/1.1', b'FETCH / HTTP/1.1', b'get / HTTP/1.1',
                 b'connect smuggled:80 HTTP/1.1'):
        yield f'line {line!r}', 501, line + b'\r\n' + end
    for lines_ in (b'', b'X-Host: x\r\n', H + H, H + b'hOST: smuggled\r\n', b'Host:\r\n', b'Host: a b\r\n',
                   b'Host: a,b\r\n',
                   b'Host: a@b\r\n', b'Host: a/b\r\n', b'Host: a:8x\r\n', b'Host: a:1:2\r\n', b'Host: :80\r\n',
                   b'Host: [::1\r\n',
                   b'Host: http://a\r\n', b'Host: a\\b\r\n', b'Host: a?b\r\n', b'Host: a#b\r\n', b'Host: \xc3\xa4\r\n',
                   b'Host : x\r\n', b'Host: x\x00\r\n', b'Host: a:123456\r\n', b'Host\x00: x\r\n'):
        yield f'Host: {lines_!r}', 400, GET + lines_ + b'\r\n'
    yield 'HTTP/1.0 with two Hosts', 400, b'GET / HTTP/1.0\r\n' + H + H + b'\r\n'
    for value in (b'200-ok', b'100-continue, x', b'x', b'100', b'100-continue;q=1', b'"100-continue"'):
        yield f'Expect: {value!r}', 417, POST + H + b'Expect: ' + value + b'\r\n' + cl(len(EVIL)) + b'\r\n' + EVIL
    for value in (b'websocket', b'TLS/1.0', b'HTTP/2.0', b'h2c, websocket', b'websocket, h2c'):
        yield f'Upgrade: {value!r}', 501, GET + H + b'Connection: Upgrade\r\nUpgrade: ' + value + b'\r\n\r\n' + EVIL


def floods():
    """Limits of the proxy under test: 32 KiB, 128 headers, 16 MiB."""
    yield 'endless request line', 414, b'GET /' + b'a' * 70000
    yield 'giant request line', 414, b'GET /' + b'a' * 33000 + b' HTTP/1.1\r\n' + H + b'\r\n'
    yield 'giant query', 414, b'GET /v1/models?' + b'x=y&' * 9000 + b' HTTP/1.1\r\n' + H + b'\r\n'
    yield 'endless method', 414, b'A' * 70000
    yield 'endless header', 431, GET + H + b'X-Smuggled: ' + b'a' * 70000
    yield 'endless name', 431, GET + H + b'a' * 70000
    yield 'giant headers', 431, GET + H + b''.join(b'X-%d: %s\r\n' % (i, b'a' * 600) for i in range(100)) + b'\r\n'
    yield 'headers by count', 431, GET + H + b''.join(b'X-%d:\r\n' % i for i in range(200)) + b'\r\n'
    yield 'the same header', 431, GET + H + b'X-Smuggled: y\r\n' * 500 + b'\r\n'
    yield 'endless headers', 431, GET + H + b'a:\r\n' * 30000
    yield 'giant Host', 431, GET + b'Host: ' + b'a' * 40000 + b'\r\n\r\n'
    for n in (b'16777217', b'4294967296', b'9223372036854775807'):
        yield f'Content-Length: {n.decode()}', 413, POST + H + cl(n) + b'\r\n' + EVIL
    yield 'giant, after 100-continue', 413, POST + H + b'Expect: 100-continue\r\n' + cl(b'99999999') + b'\r\n'


WAYS = [way for group in (lengths, chunks, lines, targets, floods) for way in group()]
