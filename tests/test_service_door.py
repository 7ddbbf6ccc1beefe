"""Connections that take places from others: bounds on request heads, on time and on their number."""

import asyncio
import contextlib
import socket
import threading
import time

import pytest
import uvicorn

from shelfwise.service import door
from shelfwise.service.door import HEAD_BYTES, HEAD_FIELDS, Door

HEAD = b"GET / HTTP/1.1\r\nhost: a\r\n"
SECONDS = 0.6


async def echo(scope, receive, send):
    """Answer with the number of bytes of the body. A request to /slow waits first."""
    if scope["type"] != "http":
        return
    size, more = 0, True
    while more:
        message = await receive()
        size, more = size + len(message.get("body", b"")), message.get("more_body", False)
    if scope["path"] == "/slow":
        await asyncio.sleep(3 * SECONDS)
    text = str(size).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(text))]})
    await send({"type": "http.response.body", "body": text})


@pytest.fixture
def port(monkeypatch):
    """Run a server with short times and 20 places, and yield its port."""
    monkeypatch.setattr(door, "HEAD_SECONDS", SECONDS)
    monkeypatch.setattr(door, "most_connections", lambda: 20)
    with socket.create_server(("127.0.0.1", 0)) as bound:
        config = uvicorn.Config(echo, http=Door, lifespan="off", log_config=None, access_log=False)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]})
        thread.start()
        yield bound.getsockname()[1]
        server.should_exit = True
        thread.join()


def connected(port):
    return socket.create_connection(("127.0.0.1", port), timeout=10)


def answer(sock):
    """Return all that the server sends until it closes the connection or falls silent."""
    found = b""
    try:
        while part := sock.recv(65536):
            found += part
            if found.endswith(b"\r\n\r\n") or b"\r\n\r\n" in found:
                break
    except ConnectionError:
        pass
    return found


def status(port, sent):
    """Return the status code of the answer, 0 if the connection was closed without one."""
    with connected(port) as sock:
        with contextlib.suppress(ConnectionError):
            sock.sendall(sent)
        found = answer(sock)
    return int(found.split()[1]) if found else 0


def filled(size):
    """Return a request whose head has this number of bytes."""
    rest = size - len(HEAD) - len(b"x: \r\n\r\n")
    return HEAD + b"x: " + b"a" * rest + b"\r\n\r\n"


def fields(count):
    return HEAD + b"".join(b"x-%d: a\r\n" % number for number in range(count - 1)) + b"\r\n"


def test_heads_within_the_bounds_are_answered(port):
    assert status(port, filled(HEAD_BYTES - 100)) == 200
    assert status(port, fields(HEAD_FIELDS)) == 200


@pytest.mark.parametrize(
    "sent",
    [
        filled(HEAD_BYTES + 1000),
        filled(20 * HEAD_BYTES),
        fields(HEAD_FIELDS + 1),
        fields(100 * HEAD_FIELDS),
        b"GET /" + b"a" * (2 * HEAD_BYTES) + b" HTTP/1.1\r\n\r\n",
        b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\nx: " + b"a" * (3 * HEAD_BYTES),
        b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n1;x=" + b"a" * (3 * HEAD_BYTES),
    ],
    ids=["head", "long head", "fields", "many fields", "path", "trailer", "chunk"],
)
def test_what_is_longer_is_refused(port, sent):
    assert status(port, sent) in (0, 400, 431)
    assert status(port, HEAD + b"\r\n") == 200


def test_a_long_head_is_refused_with_its_reason(port):
    with connected(port) as sock:
        sock.sendall(filled(HEAD_BYTES + 1000)[: HEAD_BYTES + 1])
        assert answer(sock).startswith(b"HTTP/1.1 431 Request Header Fields Too Large\r\n")


@pytest.mark.parametrize("size", [0, 1, HEAD_BYTES, 10 * HEAD_BYTES + 7])
def test_bodies_are_read_whole(port, size):
    with connected(port) as sock:
        sock.sendall(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: %d\r\n\r\n" % size + b"a" * size)
        assert answer(sock).endswith(b"\r\n\r\n%d" % size)


def test_requests_may_follow_each_other_at_once(port):
    with connected(port) as sock:
        sock.sendall(3 * (HEAD + b"\r\n"))
        deadline, found = time.monotonic() + 10, b""
        while found.count(b"200 OK") < 3 and time.monotonic() < deadline:
            found += sock.recv(65536)
    assert found.count(b"200 OK") == 3


@pytest.mark.parametrize("first", [b"", HEAD + b"\r\n"], ids=["first", "second"])
@pytest.mark.parametrize("sent", [b"", b"G", HEAD], ids=["nothing", "a letter", "a part"])
def test_a_head_that_does_not_come_is_not_waited_for(port, first, sent):
    if first and not sent:
        return  # an idle connection: uvicorn closes it after timeout_keep_alive
    with connected(port) as sock:
        if first:
            sock.sendall(first)
            assert answer(sock).startswith(b"HTTP/1.1 200")
        start = time.monotonic()
        sock.sendall(sent)
        found = answer(sock)
        assert found == b"" if not sent else found.startswith(b"HTTP/1.1 408")
        assert SECONDS / 2 < time.monotonic() - start < 10


def test_time_for_a_head_does_not_count_while_a_request_is_answered(port):
    with connected(port) as sock:
        sock.sendall(b"GET /slow HTTP/1.1\r\nhost: a\r\n\r\n")
        assert answer(sock).startswith(b"HTTP/1.1 200")


def test_connections_without_a_request_make_room_the_oldest_first(port, monkeypatch):
    monkeypatch.setattr(door, "HEAD_SECONDS", 60)
    with connected(port) as busy, connected(port) as used:
        busy.sendall(b"GET /slow HTTP/1.1\r\nhost: a\r\n\r\n")
        used.sendall(HEAD + b"\r\n")
        assert answer(used).startswith(b"HTTP/1.1 200")
        idle = [connected(port) for _ in range(30)]
        for _ in range(5):
            assert status(port, HEAD + b"\r\n") == 200
        closed = []
        for sock in idle:
            sock.settimeout(0.05)
            try:
                closed.append(sock.recv(1) == b"")
            except TimeoutError:
                closed.append(False)
            except ConnectionError:
                closed.append(True)
        assert any(closed) and closed == sorted(closed, reverse=True)
        used.sendall(HEAD + b"\r\n")
        assert answer(used).startswith(b"HTTP/1.1 200")
        assert answer(busy).startswith(b"HTTP/1.1 200")
        for sock in idle:
            sock.close()


def test_if_all_connections_are_busy_a_new_one_is_refused(port, monkeypatch):
    busy = [connected(port) for _ in range(20)]
    for sock in busy:
        sock.sendall(b"GET /slow HTTP/1.1\r\nhost: a\r\n\r\n")
    time.sleep(SECONDS / 2)
    assert status(port, b"") == 503
    assert all(answer(sock).startswith(b"HTTP/1.1 200") for sock in busy)
    for sock in busy:
        sock.close()
