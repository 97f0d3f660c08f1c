"""An engine of plain sockets: it keeps every byte that comes, and answers what a test tells it to.

Requests are read as strictly as they are expected to be written: one way of saying a length, exact lines. Whatever is
not like that is kept as a complaint.
"""
import socket
import threading

MODELS = b'{"object":"list","data":[{"id":"llmd-filler","object":"model"}]}'
METRICS = (b'# TYPE vllm:num_requests_running gauge\nvllm:num_requests_running{model_name="llmd-filler"} 0\n'
           b'# TYPE vllm:num_requests_waiting gauge\nvllm:num_requests_waiting{model_name="llmd-filler"} 0\n'
           b'# TYPE vllm:kv_cache_usage_perc gauge\nvllm:kv_cache_usage_perc{model_name="llmd-filler"} 0.1\n')
ANSWER = (b'{"id":"c","object":"chat.completion","choices":[{"index":0,"message":{"role":"assistant","content":"well"},'
          b'"finish_reason":"stop"}],"usage":{"prompt_tokens":5,"completion_tokens":1,"total_tokens":6}}')


def message(body, status=b'200 OK', kind=b'application/json', more=b''):
    return (b'HTTP/1.1 %s\r\nContent-Type: %s\r\n%sContent-Length: %d\r\n\r\n%s'
            % (status, kind, more, len(body), body))


WELL = message(ANSWER)


class Seen:
    """A request as it came."""

    def __init__(self, head, body):
        self.head, self.body, self.raw = head, body, head + body
        self.line, *lines = head[:-4].split(b'\r\n')
        self.headers = [tuple(part.strip() for part in line.split(b':', 1)) for line in lines]

    def of(self, name):
        return [pair[1] for pair in self.headers if pair[0].lower() == name]


class Upstream:
    """One engine. answer(socket, request) sends what it likes; returning True it keeps the connection."""

    program = None  # a World keeps it among its engines

    def __init__(self, answer=None):
        self.answer, self.seen, self.complaints, self.connections = answer or self.well, [], [], 0
        self.listener = socket.create_server(('127.0.0.1', 0), backlog=512)
        self.port = self.listener.getsockname()[1]
        self.address = f'127.0.0.1:{self.port}'
        threading.Thread(target=self.accept, daemon=True).start()

    @staticmethod
    def well(client, _):
        client.sendall(WELL)
        return True

    def kill(self):
        # A thread in accept() keeps a closed socket alive; shut down, it returns.
        try:
            self.listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.listener.close()

    def running(self):
        return 0

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self.serve, args=(client,), daemon=True).start()

    def serve(self, client):
        with client:
            try:
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                while self.one(client):
                    pass
            except OSError:
                pass

    def one(self, client):
        """A request and its answer, without reading further than it goes."""
        head = b''
        while not head.endswith(b'\r\n\r\n'):
            piece = client.recv(65536, socket.MSG_PEEK)
            if not piece:
                if head:
                    self.complaints.append(head)
                return False
            end = (head + piece).find(b'\r\n\r\n')
            n = len(piece) if end < 0 else end + 4 - len(head)
            head += client.recv(n)
        request = Seen(head, b'')
        if request.line.startswith(b'GET /metrics ') and not request.of(b'x-request-id'):
            client.sendall(message(METRICS, kind=b'text/plain'))
            return True
        if request.line.startswith(b'GET /v1/models ') and not request.of(b'x-request-id'):
            client.sendall(message(MODELS))
            return True
        self.seen.append(request)
        request.body = self.body(client, request)
        request.raw = head + request.body
        return self.answer(client, request)

    def body(self, client, request):
        lengths, codings = request.of(b'content-length'), request.of(b'transfer-encoding')
        if codings or len(lengths) > 1 or not all(x.isdigit() for x in lengths) or not all(
                len(pair) == 2 and pair[0].replace(b'-', b'').replace(b'_', b'').isalnum() for pair in request.headers):
            self.complaints.append(request.head)
        left, parts = int(lengths[0]) if lengths else 0, []
        while left:
            piece = client.recv(min(left, 1 << 20))
            if not piece:
                self.complaints.append(b'cut short: ' + request.head)
                break
            parts.append(piece)
            left -= len(piece)
        return b''.join(parts)
