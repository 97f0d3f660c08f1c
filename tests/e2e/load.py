"""Clients that ask without a pause: chat completions, streams and whole answers mixed, each answer checked to its last
byte. What became of each request is kept, so that a test can say which were allowed to fail.

A Load runs in a thread of its own until it is stopped. Nothing hangs: a request that takes longer than PATIENCE counts
as one that does.
"""
import asyncio
import collections
import json
import random
import threading
import time

from world import MODEL, PATIENCE

# problem: '' = all right; port: the client's, so that a connection can be found among a process's.
Outcome = collections.namedtuple('Outcome', 'id stream begin end port status problem')


class Bad(Exception):
    """What a client saw, in a word or two."""


class Load:
    def __init__(self, port, users=16, rate=150, tokens=24, prompts=20, seed=1):
        self.port, self.users, self.rate, self.tokens = port, users, rate, tokens
        self.prompts = [f'Prompt number {i}. ' + 'It says the same again and again. ' * 20 for i in range(prompts)]
        self.random, self.seed, self.count = random.Random(seed), seed, 0
        self.outcomes, self.stopping, self.crash = [], False, None
        self.thread = threading.Thread(target=self.main, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.stopping = True
        if self.thread.ident:
            self.thread.join(2 * PATIENCE)

    def main(self):
        try:
            asyncio.run(self.all())
        except Exception as error:  # pylint: disable=broad-except
            self.crash = error

    async def all(self):
        await asyncio.gather(*(User(self, i).run() for i in range(self.users)))

    def stop(self):
        """Lets requests under way end; the outcomes."""
        self.close()
        if self.thread.is_alive():
            raise AssertionError('clients do not end')
        if self.crash:
            raise self.crash
        return self.outcomes

    def failed(self):
        return [o for o in self.outcomes if o.problem]


class User:
    """One at a time, on a connection that is kept most of the time."""

    def __init__(self, load, number):
        self.load, self.number, self.reader, self.writer, self.port = load, number, None, None, 0

    async def run(self):
        pause = self.load.users / self.load.rate
        next_at = time.monotonic() + self.load.random.random() * pause
        while not self.load.stopping:
            await asyncio.sleep(max(0, next_at - time.monotonic()))
            next_at = max(next_at + pause, time.monotonic() - pause)
            await self.once()
        self.leave()

    def leave(self):
        if self.writer:
            self.writer.transport.abort()
        self.reader = self.writer = None

    async def once(self):
        load = self.load
        load.count += 1
        name, stream = f'load-{load.seed}-{self.number}-{load.count}', load.random.random() < 0.5
        begin, status, problem = time.time(), [0], ''
        try:
            await asyncio.wait_for(self.request(name, stream, status), PATIENCE)
        except asyncio.TimeoutError:
            problem = 'hangs'
        except Bad as error:
            problem = str(error)
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            problem = f'{"cut short" if status[0] else "no answer"}: {type(error).__name__}'
        except OSError as error:
            problem = f'cannot connect: {error}'
        load.outcomes.append(Outcome(name, stream, begin, time.time(), self.port, status[0], problem))
        if problem or load.random.random() < 0.1:
            self.leave()

    async def request(self, name, stream, status):
        load = self.load
        if not self.writer or self.reader.at_eof() or self.writer.transport.is_closing():
            self.leave()
            self.port = 0
            self.reader, self.writer = await asyncio.open_connection('127.0.0.1', load.port)
            self.port = self.writer.get_extra_info('sockname')[1]
        body = {'model': MODEL, 'max_tokens': load.tokens, 'ignore_eos': True, 'stream': stream, 'messages': [
            {'role': 'system', 'content': load.random.choice(load.prompts)}, {'role': 'user', 'content': name}]}
        text = json.dumps(body).encode()
        self.writer.write(b'POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n'
                          b'x-request-id: %s\r\nContent-Length: %d\r\n\r\n%s' % (name.encode(), len(text), text))
        head = (await self.reader.readuntil(b'\r\n\r\n')).decode('latin-1').lower()
        status[0] = int(head.split(' ')[1])
        answer = await self.body(head)
        if status[0] != 200:
            raise Bad(f'status {status[0]}: {answer[:200]!r}')
        if f'x-request-id: {name}\r\n' not in head:
            raise Bad('an answer to another request')
        problem = self.check_stream(answer) if stream else self.check_whole(answer)
        if problem:
            raise Bad(f'{problem}: {answer[-300:]!r}')

    async def body(self, head):
        if 'transfer-encoding: chunked\r\n' not in head:
            return await self.reader.readexactly(int(head.split('content-length: ')[1].split('\r\n')[0]))
        parts = []
        while True:
            n = int(await self.reader.readuntil(b'\r\n'), 16)
            parts.append(await self.reader.readexactly(n))
            if await self.reader.readexactly(2) != b'\r\n':
                raise Bad('wrong chunks')
            if not n:
                return b''.join(parts)

    def check_whole(self, answer):
        usage = json.loads(answer)['usage']
        return '' if usage['completion_tokens'] == self.load.tokens else 'another number of tokens'

    def check_stream(self, answer):
        """The role, the tokens, [DONE]; no usage, for nobody has asked for it."""
        events = answer.split(b'\n\n')
        if events[-2:] != [b'data: [DONE]', b'']:
            return 'a clean end without [DONE]'
        if len(events) != self.load.tokens + 3:
            return f'{len(events) - 3} tokens'
        return 'a chunk of usage' if b'"usage":{' in answer else ''
