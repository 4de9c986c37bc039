"""A TCP proxy between the code under test and an HTTP store: it counts, slows, holds and cuts.

A test that must strike in the middle of a transfer says after how many bytes the proxy shall hold everything
(``hold_after``), waits for that (``held``), strikes, and lets go (``release``): no sleeping for luck.
"""

from __future__ import annotations

import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit

CHUNK = 64 << 10
BEGUN = 9  # bytes of an answer that is lost after it began: "HTTP/1.1 " and no status


@dataclass(eq=False)
class Exchange:
    """One HTTP request and its answer. ``path`` has the query; byte counts are of bodies as they passed on the wire; ``began`` and
    ``ended`` (0 = not yet): when its head came and when its answer began."""

    method: str
    path: str
    sent: int = 0
    received: int = 0
    status: int = 0
    began: float = field(default_factory=time.monotonic)
    ended: float = 0.0


@dataclass
class _Framer:
    """Finds heads and bodies in one direction of a connection. ``on_head`` gives the Content-Length, -1 for chunked and
    None for "another head follows"."""

    on_head: Callable[[list[bytes]], int | None]
    on_body: Callable[[int], None]
    _buffer: bytearray = field(default_factory=bytearray)
    _left: int = 0
    _chunked: bool = False
    _trailer: bool = False
    lost: bool = False  # what this direction brings is not passed on any more

    def feed(self, data: bytes) -> None:
        self._buffer += data
        while self._buffer:
            if self._left:
                n = min(self._left, len(self._buffer))
                del self._buffer[:n]
                self._left -= n
                self.on_body(n)
            elif self._chunked:
                if not self._chunk():
                    return
            else:
                end = self._buffer.find(b"\r\n\r\n")
                if end < 0:
                    return
                head = bytes(self._buffer[:end]).split(b"\r\n")
                del self._buffer[: end + 4]
                length = self.on_head(head)
                self._chunked = length == -1
                self._left = 0 if length is None or length < 0 else length

    def _chunk(self) -> bool:
        """One chunk's size line (or the CRLF after its bytes, or the trailer); False = more bytes are needed."""
        end = self._buffer.find(b"\r\n")
        if end < 0:
            return False
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 2]
        if self._trailer:
            if not line:
                self._chunked = self._trailer = False
        elif line:
            self._left = int(line.partition(b";")[0], 16)
            self._trailer = self._left == 0
        return True


class SlowProxy:
    """Listens on ``endpoint`` from construction to ``close``; forwards to the HTTP ``target``.

    ``rate``: bytes per second over all connections, each direction; ``latency``: seconds before each request goes on;
    ``buffers``: bytes that the system may hold of what comes and goes, so that counts are close to what the client took.
    """

    def __init__(
        self, target: str, rate: float | None = None, latency: float = 0.0, buffers: int = 0, host: str = "127.0.0.1"
    ) -> None:
        split = urlsplit(target)
        self._target = (split.hostname or "127.0.0.1", split.port or 80)
        self.rate, self.latency, self.buffers = rate, latency, buffers
        self.exchanges: list[Exchange] = []
        self.up = self.down = 0  # bytes on the wire, heads included
        self._gate = threading.Condition()
        self._limits: dict[str, int] = {}
        self._holding = self._cut_off = False
        self._hold_at: Callable[[Exchange], bool] | None = None
        self._loses: Callable[[Exchange], bool] | None = None
        self._sockets: set[socket.socket] = set()
        self._free_at = {"up": 0.0, "down": 0.0}
        self._listener = socket.create_server((host, 0), backlog=256)
        self.endpoint = f"http://{host}:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    # what a test does
    def hold_after(self, *, up: int | None = None, down: int | None = None, requests: int | None = None) -> None:
        """Hold everything once so many more bytes (or request heads) have come; ``held`` waits for it."""
        with self._gate:
            for name, more in (("up", up), ("down", down), ("requests", requests)):
                if more is not None:
                    self._limits[name] = self._count(name) + more

    def hold_at(self, method: str, part: str = "", nth: int = 1) -> None:
        """Hold everything from the ``nth`` request of ``method`` on whose path and query have ``part`` in them."""
        left = nth

        def met(exchange: Exchange) -> bool:
            nonlocal left
            left -= exchange.method == method and part in exchange.path
            return left <= 0

        with self._gate:
            self._hold_at = met

    def lose_answer(self, method: str, part: str = "") -> None:
        """Cut the connection when the answer to the next request of ``method``, whose path and query have ``part`` in them,
        has begun: the server has done it and the client cannot know."""

        def met(exchange: Exchange) -> bool:
            it = exchange.method == method and part in exchange.path
            if it:
                self._loses = None
            return it

        self._loses = met

    def held(self, timeout: float = 60.0) -> None:
        """Wait until the proxy holds. Raises AssertionError after ``timeout`` s."""
        with self._gate:
            assert self._gate.wait_for(lambda: self._holding, timeout), f"nothing to hold: {self.up=} {self.down=}"

    def release(self) -> None:
        with self._gate:
            self._holding = False
            self._hold_at = None
            self._limits.clear()
            self._gate.notify_all()

    def cut(self, off: bool = False) -> None:
        """Reset every connection; ``off``: and each new one, until ``mend``."""
        with self._gate:
            self._cut_off = off
            for s in list(self._sockets):
                _abort(s)
            self._gate.notify_all()

    def mend(self) -> None:
        self._cut_off = False

    def close(self) -> None:
        self._listener.close()
        self.cut(off=True)
        self.release()

    def requests(self) -> Counter[str]:
        """Requests by method."""
        return Counter(e.method for e in list(self.exchanges))

    def bodies(self) -> tuple[int, int]:
        """Body bytes (sent, received)."""
        seen = list(self.exchanges)
        return sum(e.sent for e in seen), sum(e.received for e in seen)

    def __enter__(self) -> SlowProxy:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # the work
    def _count(self, name: str) -> int:
        return {"up": self.up, "down": self.down, "requests": len(self.exchanges)}[name]

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self._cut_off:
                _abort(client)
                continue
            try:
                server = socket.create_connection(self._target, timeout=10)
            except OSError:
                _abort(client)
                continue
            server.settimeout(None)
            for s in (client, server):
                s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                if self.buffers:
                    s.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, self.buffers)
                self._sockets.add(s)
            pending: list[Exchange] = []
            for pump in (
                ("up", client, server, self._upwards(pending)),
                ("down", server, client, self._downwards(pending)),
            ):
                threading.Thread(target=self._pump, args=pump, daemon=True).start()

    def _pump(self, way: str, source: socket.socket, sink: socket.socket, framer: _Framer) -> None:
        with suppress(OSError, ValueError):
            while data := source.recv(CHUNK):
                with self._gate:
                    framer.feed(data)
                    setattr(self, way, getattr(self, way) + len(data))
                    if any(self._count(name) >= limit for name, limit in self._limits.items()):
                        self._holding = True
                        self._gate.notify_all()
                    self._gate.wait_for(lambda: not self._holding or source.fileno() < 0)
                    wait = self._wait(way, len(data))
                if wait > 0:
                    time.sleep(wait)
                if framer.lost:
                    sink.sendall(data[:BEGUN])
                    for s in (sink, source):
                        _abort(s)
                    return
                sink.sendall(data)
        with suppress(OSError):
            sink.shutdown(socket.SHUT_WR)
        if way == "down":  # the server has said its last word
            for s in (source, sink):
                self._sockets.discard(s)
                s.close()

    def _wait(self, way: str, n: int) -> float:
        now = time.monotonic()
        wait = self.latency if way == "up" else 0.0
        if self.rate:
            start = max(now, self._free_at[way])
            self._free_at[way] = start + n / self.rate
            wait += self._free_at[way] - now
        return wait

    def _upwards(self, pending: list[Exchange]) -> _Framer:
        current: list[Exchange] = []

        def head(lines: list[bytes]) -> int:
            method, path, _ = lines[0].decode("latin-1").split(" ", 2)
            exchange = Exchange(method, path)
            current[:] = [exchange]
            self.exchanges.append(exchange)
            if self._hold_at is not None and self._hold_at(exchange):  # under the gate: ``_pump`` feeds
                self._holding = True
                self._gate.notify_all()
            pending.append(exchange)
            return _length(lines)

        def body(n: int) -> None:
            current[0].sent += n

        return _Framer(head, body)

    def _downwards(self, pending: list[Exchange]) -> _Framer:
        current: list[Exchange] = []

        def head(lines: list[bytes]) -> int | None:
            status = int(lines[0].split(b" ", 2)[1])
            if 100 <= status < 200:
                return None  # 100 Continue: the answer comes later
            exchange = pending.pop(0)
            exchange.status, exchange.ended = status, time.monotonic()
            current[:] = [exchange]
            framer.lost = self._loses is not None and self._loses(exchange)
            return 0 if exchange.method == "HEAD" or status in (204, 304) else _length(lines)

        def body(n: int) -> None:
            current[0].received += n

        framer = _Framer(head, body)
        return framer


def _length(lines: list[bytes]) -> int:
    """The length of a body; -1 = chunked."""
    fields = {n.strip().lower(): v.strip() for n, _, v in (line.partition(b":") for line in lines[1:])}
    if fields.get(b"transfer-encoding", b"").lower() == b"chunked":
        return -1
    return int(fields.get(b"content-length", 0))


def _abort(s: socket.socket) -> None:
    """End a connection as a dying peer does: with a reset, and waking whoever reads from it."""
    with suppress(OSError):
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
    with suppress(OSError):
        s.shutdown(socket.SHUT_RDWR)
    s.close()
