"""Connections of the service: one that sends no request, or an endless one, takes no place from others.

A connection is closed if its first or next request head is not complete in time, and answered with 431 if the head is
too long. If descriptors run short, connections without a request make room, the oldest first.
"""

import asyncio
import itertools
import resource
from functools import cache

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_SECONDS = 30.0  # until the head of a request is complete
HEAD_BYTES = 64 << 10  # of a request's head, or between two parts of its body
HEAD_FIELDS = 100
OTHER_DESCRIPTORS = 256  # for the store, the desk and the log
FEWEST_CONNECTIONS = 16
_moments = itertools.count()
_ANSWERS = {
    408: (b"Request Timeout", b"the head of the request arrived too slowly"),
    431: (b"Request Header Fields Too Large", b"the head of the request is too long"),
    503: (b"Service Unavailable", b"too many connections; try again"),
}


@cache
def most_connections() -> int:
    """Return how many connections may be open at a time, by the limit of this process on open files."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return 1 << 20
    return max(FEWEST_CONNECTIONS, soft - OTHER_DESCRIPTORS)


class Door(HttpToolsProtocol):
    """The HTTP protocol of a connection, with bounds on the heads of requests."""

    since = 0  # when the connection was made, or its last request was answered
    asked = False  # True once a request head was complete
    _unread = 0  # bytes since the parser last handed something on
    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take a place, or that of the connection that waits longest for its first request."""
        super().connection_made(transport)  # type: ignore[arg-type]
        self.since = next(_moments)
        if len(self.connections) > most_connections() and not self._makes_room():
            self._answer(503)
            return
        self._wait_for_head()

    def _makes_room(self) -> bool:
        """Close the oldest connection without a request, else the one that is idle the longest."""
        doors = (one for one in self.connections if isinstance(one, Door) and one is not self)
        others = [one for one in doors if one.is_idle and not one.transport.is_closing()]
        if not others:
            return False
        min(others, key=lambda one: (one.asked, one.since)).transport.abort()
        return True

    @property
    def is_idle(self) -> bool:
        """True unless a request is being answered."""
        return self.cycle is None or self.cycle.response_complete

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        self._stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Hand on what arrives, as long as its head is within the bounds."""
        while data and not self.transport.is_closing() and self.parser is not None:
            part, data = data[: HEAD_BYTES - self._unread], data[HEAD_BYTES - self._unread :]
            self._unread += len(part)
            super().data_received(part)
            if self._unread >= HEAD_BYTES:
                self._answer(431)

    def on_message_begin(self) -> None:
        """Begin to wait for the head of a request."""
        if self._timer is None:
            self._wait_for_head()
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header field. Those beyond HEAD_FIELDS end the request."""
        if len(self.headers) > HEAD_FIELDS:
            raise ValueError("too many header fields")
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Answer the request, unless its head is too long."""
        if len(self.headers) > HEAD_FIELDS:
            raise ValueError("too many header fields")
        self._unread, self.asked = 0, True
        self._stop_waiting()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Take a part of the body."""
        self._unread = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """End a request."""
        self._unread = 0
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Wait for the next request."""
        self.since = next(_moments)
        super().on_response_complete()

    def send_400_response(self, msg: str) -> None:
        """Say that a request is not valid HTTP, or that its head is too long."""
        if len(self.headers or ()) > HEAD_FIELDS:
            self._answer(431)
        else:
            super().send_400_response(msg)

    def _wait_for_head(self) -> None:
        self._timer = self.loop.call_later(HEAD_SECONDS, self._answer, 408)

    def _stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _answer(self, status: int) -> None:
        """Answer with one line and close the connection. One that sent nothing is closed without a word."""
        self._stop_waiting()
        if self.transport.is_closing():
            return
        if status != 408 or self._unread:
            reason, line = _ANSWERS[status]
            head = b"HTTP/1.1 %d %s\r\ncontent-type: text/plain\r\ncontent-length: %d\r\nconnection: close\r\n\r\n"
            self.transport.write(head % (status, reason, len(line)) + line)
        self.transport.close()
