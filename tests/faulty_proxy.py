"""A reverse proxy in front of an S3 server that fails on purpose, as often and as oddly as told.

It hands the Host header on as it came: signatures cover it, so client and server agree on them. A
fault is drawn for each request from the seed, its method, its target and how often that was asked
for: the same requests meet the same faults, in whatever order they arrive.
"""

import asyncio
import random
import socket
import struct
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from urllib.parse import urlsplit

KINDS = ("slow_down", "timeout", "reset", "truncate")
"""503 SlowDown; silence, then a closed connection; a reset; the answer's first half.

Beside these there is `flip`, to be asked for: one byte of an object is another one than was stored.
"""

_MOST_HEAD = 2**20
_SLOW_DOWN = (
    b'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>SlowDown</Code>'
    b"<Message>Please reduce your request rate.</Message></Error>"
)


@dataclass(frozen=True)
class Faults:
    """What goes wrong.

    Attributes:
        rate: Share of requests that meet a fault.
        seed: Another one, other faults.
        kinds: Which faults, all as likely.
        hold: Seconds of silence of a `timeout`; it ends sooner when the client gives up.
        most: Number of faults after which all goes well; 0 for no end.
    """

    rate: float = 0.0
    seed: int = 0
    kinds: tuple[str, ...] = KINDS
    hold: float = 3.0
    most: int = 0


@dataclass(frozen=True)
class _Message:
    """A request or an answer: everything up to the empty line, and all after it, as it came."""

    head: bytes
    body: bytes

    @property
    def method(self) -> str:
        return self.head.split(b" ", 1)[0].decode("latin-1")

    @property
    def target(self) -> str:
        return self.head.split(b" ", 2)[1].decode("latin-1")

    @property
    def last(self) -> bool:
        """True when its sender closes the connection after it."""
        return _header(self.head, b"connection").lower() == b"close"


class FaultyProxy:
    """Passes requests on, or fails them.

    Attributes:
        faults: What goes wrong from now on; may be replaced at any time, from any thread.
        counts: Faults so far, by kind.
        requests: Requests so far.
        stop: Ends it; may be called from any thread.
    """

    stop: Callable[[], object]

    def __init__(self, upstream: str, faults: Faults) -> None:
        parts = urlsplit(upstream)
        self._upstream = (parts.hostname, parts.port)
        self._seen: Counter[tuple[str, str]] = Counter()
        self._port = 0
        self.faults = faults
        self.counts: Counter[str] = Counter()
        self.requests = 0

    @property
    def endpoint_url(self) -> str:
        """Where clients find it."""
        return f"http://127.0.0.1:{self._port}"

    async def listen(self, ready: threading.Event) -> None:
        """Serve until told to stop."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=_MOST_HEAD)
        self._port = server.sockets[0].getsockname()[1]
        loop, over = asyncio.get_running_loop(), asyncio.Event()
        self.stop = lambda: loop.call_soon_threadsafe(over.set)
        ready.set()
        await over.wait()
        server.close()  # connections are ended with the loop

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer what comes over one connection of a client, by one connection to the server."""
        server = None
        try:
            server = await asyncio.open_connection(*self._upstream, limit=_MOST_HEAD)
            while True:
                request = await _read_request(reader, writer)
                if not await self._answer(request, reader, writer, server):
                    return
        except (EOFError, OSError, asyncio.CancelledError):
            pass  # either side has gone away or the proxy ends, and so does this
        finally:
            for end in (writer, server[1] if server else writer):
                end.close()

    async def _answer(
        self,
        request: _Message,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        server: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    ) -> bool:
        """Answer a request; return whether the connection goes on."""
        kind, reaches = self._draw(request)
        answer = None
        if kind in ("", "truncate", "flip") or (reaches and kind != "slow_down"):
            server[1].write(request.head + request.body)
            answer = await _read_answer(server[0], bodiless=request.method == "HEAD")
        if kind == "truncate" and answer and len(answer.body) < 2:
            kind = "reset"  # nothing to cut
        if kind == "flip" and not _is_object(request, answer):
            kind = ""
        if kind:
            self.counts[kind] += 1
        if kind == "slow_down":
            writer.write(_slow_down(request))
            await writer.drain()
            return not request.last
        if kind == "timeout":
            await _silence(reader, self.faults.hold)
        elif kind == "reset":
            _reset(writer)
        elif answer:
            body = answer.body
            if kind == "truncate":
                body = body[: len(body) // 2]
            elif kind == "flip":  # each time another byte
                place = (len(body) // 2 + self.counts[kind]) % len(body)
                body = body[:place] + bytes([body[place] ^ 4]) + body[place + 1 :]
            writer.write(answer.head + body)
            await writer.drain()
        over = kind in ("truncate", "timeout", "reset")
        return not (over or request.last or (answer and answer.last))

    def _draw(self, request: _Message) -> tuple[str, bool]:
        """Return the fault that a request meets, if any, and whether it reaches the server."""
        self.requests += 1
        self._seen[request.method, request.target] += 1
        nth, faults = self._seen[request.method, request.target], self.faults
        if faults.most and self.counts.total() >= faults.most:
            return "", True
        dice = random.Random(f"{faults.seed} {request.method} {request.target} {nth}")
        if dice.random() >= faults.rate:
            return "", True
        return dice.choice(faults.kinds), dice.random() < 0.5


@contextmanager
def faulty_proxy(upstream: str, faults: Faults) -> Iterator[FaultyProxy]:
    """Serve on a free port of loopback, in a thread, until the block ends."""
    proxy, ready = FaultyProxy(upstream, faults), threading.Event()
    thread = threading.Thread(target=lambda: asyncio.run(proxy.listen(ready)), daemon=True)
    thread.start()
    if not ready.wait(30):
        raise RuntimeError("the proxy does not come up")
    try:
        yield proxy
    finally:
        proxy.stop()
        thread.join(30)


async def _read_request(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> _Message:
    head = await reader.readuntil(b"\r\n\r\n")
    if _header(head, b"expect"):
        # Signatures leave Expect out, so it can stay here.
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        lines = [line for line in head.split(b"\r\n") if not line.lower().startswith(b"expect:")]
        head = b"\r\n".join(lines)
    return _Message(head, await _read_body(reader, head, b""))


async def _read_answer(reader: asyncio.StreamReader, *, bodiless: bool) -> _Message:
    head = await reader.readuntil(b"\r\n\r\n")
    if bodiless or head.split(b" ", 2)[1] in (b"204", b"304"):
        return _Message(head, b"")
    return _Message(head, await _read_body(reader, head, None))


async def _read_body(reader: asyncio.StreamReader, head: bytes, unframed: bytes | None) -> bytes:
    """Return a body as it is framed; without frame it is `unframed`, or all that comes."""
    if b"chunked" in _header(head, b"transfer-encoding").lower():
        return await _read_chunks(reader)
    length = _header(head, b"content-length")
    if length:
        return await reader.readexactly(int(length))
    return await reader.read() if unframed is None else unframed


async def _read_chunks(reader: asyncio.StreamReader) -> bytes:
    """Return chunks with their sizes, and the trailer."""
    raw = b""
    while True:
        line = await reader.readuntil(b"\r\n")
        raw += line
        size = int(line.split(b";")[0], 16)
        if size:
            raw += await reader.readexactly(size + 2)
            continue
        while line != b"\r\n":
            line = await reader.readuntil(b"\r\n")
            raw += line
        return raw


def _header(head: bytes, name: bytes) -> bytes:
    for line in head.split(b"\r\n")[1:]:
        key, _, value = line.partition(b":")
        if key.lower() == name:
            return value.strip()
    return b""


def _is_object(request: _Message, answer: _Message | None) -> bool:
    """Tell whether an answer brings an object, no list or complaint."""
    asked = request.method == "GET" and "list-type" not in request.target
    return asked and answer is not None and b" 200 " in answer.head[:16] and bool(answer.body)


def _slow_down(request: _Message) -> bytes:
    head = (
        b"HTTP/1.1 503 Slow Down\r\nContent-Type: application/xml\r\n"
        b"Content-Length: %d\r\n\r\n" % len(_SLOW_DOWN)
    )
    return head if request.method == "HEAD" else head + _SLOW_DOWN


async def _silence(reader: asyncio.StreamReader, seconds: float) -> None:
    with suppress(TimeoutError):
        await asyncio.wait_for(reader.read(1), seconds)


def _reset(writer: asyncio.StreamWriter) -> None:
    """End the connection so that the other side is told of a reset, not of an end."""
    linger = struct.pack("ii", 1, 0)
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    writer.transport.abort()
