"""Requests as they come: cut anywhere, too large, none at all."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.edge.http.request import (
    MAX_HEADER_BYTES,
    MAX_HEADERS,
    MAX_TARGET_BYTES,
    Request,
    RequestReader,
)

WHOLE = b"GET /live/a.flv?raw=1&x=%20 HTTP/1.1\r\nHost: edge\r\nUser-Agent: VLC/3\r\nA: b\r\n\r\n"


def read(*pieces: bytes) -> tuple[list[Request], int | None]:
    """The requests in ``pieces``, and the status of what is wrong behind them."""
    reader = RequestReader()
    requests = [request for piece in pieces for request in reader.feed(piece)]
    fault = reader.fault
    reader.close()
    return requests, None if fault is None else fault.status


def test_a_request_cut_anywhere_is_the_same() -> None:
    (whole,), fault = read(WHOLE)
    assert fault is None
    assert (whole.method, whole.path, whole.query) == ("GET", "/live/a.flv", "raw=1&x=%20")
    assert whole.stays
    assert whole.headers[b"user-agent"] == b"VLC/3"
    assert read(*(WHOLE[at : at + 1] for at in range(len(WHOLE)))) == ([whole], None)
    for at in range(len(WHOLE)):
        assert read(WHOLE[:at], WHOLE[at:]) == ([whole], None)


def test_requests_that_are_sent_ahead_are_all_read() -> None:
    requests, fault = read(WHOLE * 3 + WHOLE[:20], WHOLE[20:])
    assert (len(requests), fault) == (4, None)


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"POST /live/a HTTP/1.1\r\nHost: e\r\nContent-Length: 1\r\n\r\nx", 405),
        (b"DELETE /live/a HTTP/1.1\r\nHost: e\r\n\r\n", 405),
        (b"CONNECT edge:80 HTTP/1.1\r\nHost: e\r\n\r\n", 405),
        (b"GET /live/a HTTP/1.1\r\nHost: e\r\nContent-Length: 1\r\n\r\nx", 413),
        (b"GET /live/a HTTP/1.1\r\nHost: e\r\nTransfer-Encoding: chunked\r\n\r\n", 413),
        (b"GET /live/a HTTP/2.0\r\nHost: e\r\n\r\n", 505),
        (b"GET /live/a HTTP/7.1\r\nHost: e\r\n\r\n", 505),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
        (b"GET /live/a HTTP/1.1\r\n\r\n", 400),
        (b"GET live/a HTTP/1.1\r\nHost: e\r\n\r\n", 400),
        (b"GET ftp://edge/live/a HTTP/1.1\r\nHost: e\r\n\r\n", 400),
        (b"GET /live/%ff HTTP/1.1\r\nHost: e\r\n\r\n", 400),
        (b"GET /live/a HTTP/1.1\r\nHost: e\r\nA: \x00\r\n\r\n", 400),
        (b"GET /live/a HTTP/1.1\r\nHost: e\r\nContent-Length: -1\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00", 400),
        (b"\x03" + bytes(1536), 400),
        (b"HELO there\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: e\r\nHost: f\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: e\r\nAuthorization: a\r\nAUTHORIZATION: b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\nHost: e\n\n", 400),
    ],
)
def test_what_is_refused(data: bytes, status: int) -> None:
    assert read(data) == ([], status)
    assert read(*(data[at : at + 1] for at in range(len(data)))) == ([], status)


def test_a_good_request_before_a_bad_one_is_read() -> None:
    requests, status = read(WHOLE + b"\x00")
    assert (len(requests), status) == (1, 400)


def test_an_old_client_is_answered_and_closed() -> None:
    (request,), _ = read(b"GET /live/a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
    assert not request.stays  # it would go by a field that is not of HTTP/1.1


def test_of_the_fields_only_those_that_matter_are_kept_and_not_all_of_them() -> None:
    fields = b"HOST: e\r\nContent-Length: 0\r\nCookie: c\r\nUser-Agent: " + b"a" * 9_000
    (request,), _ = read(b"GET / HTTP/1.1\r\n" + fields + b"\r\n\r\n")
    assert request.headers == {b"host": b"e", b"user-agent": b"a" * 256}


def test_a_whole_address_is_its_path() -> None:
    (request,), _ = read(b"GET HTTP://edge:8080/live/%C3%A4.flv?raw=1#x HTTP/1.1\r\nHost: e\r\n\r\n")
    assert request.path == "/live/ä.flv"


def test_what_comes_behind_an_upgrade_is_kept() -> None:
    reader = RequestReader()
    (request,) = reader.feed(
        b"GET /a.flv HTTP/1.1\r\nHost: e\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\n\r\nrest"
    )
    assert request.wants_websocket
    assert reader.rest == b"rest"
    assert reader.feed(b" and more") == []  # the request may have to wait for its answer
    assert (reader.rest, reader.fault) == (b"rest and more", None)
    for _ in range(10):
        reader.feed(bytes(MAX_HEADER_BYTES))
    assert reader.fault is not None
    assert len(reader.rest) <= 3 * MAX_HEADER_BYTES


def test_a_head_that_begins_behind_another_has_begun() -> None:
    reader = RequestReader()
    assert len(reader.feed(b"GET /a HTTP/1.1\r\nHost: e\r\n\r\nGE")) == 1
    assert reader.unfinished_bytes
    assert len(reader.feed(b"T /b HTTP/1.1\r\nHost: e\r\n\r\n")) == 1
    assert not reader.unfinished_bytes


def test_the_longest_address_and_one_past() -> None:
    def asked(size: int) -> tuple[list[Request], int | None]:
        target = b"/" + b"a" * (size - 1)
        return read(b"GET " + target + b" HTTP/1.1\r\nHost: e\r\n\r\n")

    (request,), fault = asked(MAX_TARGET_BYTES)
    assert fault is None
    assert len(request.path) == MAX_TARGET_BYTES
    assert asked(MAX_TARGET_BYTES + 1) == ([], 414)


def test_the_most_header_bytes_and_one_past() -> None:
    def asked(size: int) -> tuple[list[Request], int | None]:
        host = b"Host: e\r\n"
        field = b"A: " + b"a" * (size - len(host) - len(b"A: \r\n")) + b"\r\n"
        return read(b"GET / HTTP/1.1\r\n" + host + field + b"\r\n")

    assert asked(MAX_HEADER_BYTES)[1] is None
    assert asked(MAX_HEADER_BYTES + 1) == ([], 431)


def test_the_most_headers_and_one_past() -> None:
    def asked(count: int) -> tuple[list[Request], int | None]:
        fields = b"".join(b"A%d: b\r\n" % number for number in range(count - 1))
        return read(b"GET / HTTP/1.1\r\nHost: e\r\n" + fields + b"\r\n")

    assert asked(MAX_HEADERS)[1] is None
    assert asked(MAX_HEADERS + 1) == ([], 431)


@pytest.mark.parametrize("begins", [b"GET / HTTP/1.1\r\nHost: e\r\nA: ", b"GET / HTTP/1.1\r\nHost: e\r\nA"])
def test_a_field_without_end_is_not_kept(begins: bytes) -> None:
    reader = RequestReader()
    reader.feed(begins)
    fed = 0
    while reader.fault is None:
        reader.feed(b"a" * 1000)
        fed += 1000
        assert fed < 2 * (MAX_HEADER_BYTES + MAX_TARGET_BYTES)
    assert reader.fault.status == 431
    assert reader.feed(WHOLE) == []


_LINES = st.sampled_from(
    [b"GET / HTTP/1.1\r\n", b"Host: e\r\n", b"\r\n", b"Content-Length: 9\r\n", b"Connection: close\r\n",
     b"Upgrade: websocket\r\nConnection: Upgrade\r\n", b"GET /%", b"HEAD * HTTP/1.0\r\n\r\n", b" "]
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.lists(st.one_of(_LINES, st.binary(max_size=40)), max_size=30))
def test_any_bytes_give_requests_or_one_fault(pieces: list[bytes]) -> None:
    reader = RequestReader()
    for piece in pieces:
        had_fault = reader.fault is not None
        requests = reader.feed(piece)
        assert not (had_fault and requests)
        for request in requests:
            assert request.method in ("GET", "HEAD", "OPTIONS")
            assert request.path == "*" or request.path.startswith("/")
    if reader.fault is not None:
        assert 400 <= reader.fault.status <= 505
