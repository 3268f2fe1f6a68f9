"""What players of FLV and MP4 over HTTP and WebSocket say and understand, without a socket."""

from __future__ import annotations

import base64
import hashlib

import pytest
from live_http import AUDIO, VIDEO, fragment, init_section, stamped
from wsproto.frame_protocol import FrameProtocol

from cluster.core.media.flv import FlvError, encode_header, encode_tag
from cluster.load.fault import ServerFault
from cluster.load.http_answer import MAX_HEAD_BYTES
from cluster.load.http_dialogue import HttpDialogue, WebSocketDialogue
from cluster.load.http_url import HttpUrl

FRAMES = [(kind, number, stamped(kind, number, 7)) for kind, number in ((VIDEO, 0), (AUDIO, 0), (VIDEO, 1))]
FLV = encode_header(True, True) + b"".join(b"".join(encode_tag(kind, 0, body)) for kind, _, body in FRAMES)
MP4 = init_section() + b"".join(fragment([frame]) for frame in FRAMES)
OK = b"HTTP/1.1 200 OK\r\nContent-Type: video/x-flv\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def pieces(data: bytes, step: int) -> list[bytes]:
    return [data[at : at + step] for at in range(0, len(data), step)]


def dialogue(suffix: str = ".flv") -> HttpDialogue:
    made = HttpDialogue(HttpUrl.parse(f"http://h:8080/live/s{suffix}?token=1"))
    assert not made.asked
    lines = made.outgoing().decode().split("\r\n")
    assert lines[:2] == [f"GET /live/s{suffix}?token=1 HTTP/1.1", "Host: h:8080"]
    assert lines[-2:] == ["", ""]
    assert made.asked
    assert made.outgoing() == b""
    return made


@pytest.mark.parametrize(
    ("suffix", "answer"),
    [
        (".flv", OK + b"Connection: close\r\n\r\n" + FLV),
        (".mp4", OK + b"\r\n" + MP4),
        (".flv", CHUNKED + chunk(FLV[:100]) + chunk(FLV[100:])),
    ],
    ids=["FLV to the end", "MP4", "FLV in chunks"],
)
def test_media_without_end_cut_anywhere(suffix: str, answer: bytes) -> None:
    for step in (len(answer), 1, 97):
        player = dialogue(suffix)
        got = [message for piece in pieces(answer, step) for message in player.receive(piece)]
        assert [(each.type_id, each.payload) for each in got] == [(kind, body) for kind, _, body in FRAMES]
        assert player.ready
        assert player.failed is None


def test_a_stream_that_ends() -> None:
    player = dialogue()
    player.receive(CHUNKED + chunk(FLV))
    assert player.failed is None
    player.receive(b"0\r\n\r\n")
    assert player.failed == "the stream has ended"


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 9\r\n\r\nnot\x1bhere\n", "HTTP 404: not�here"),
        (b"HTTP/1.0 503 No\r\n\r\n", "HTTP 503"),
        (b"HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n", "HTTP 302"),
    ],
)  # fmt: skip
def test_a_refusal(answer: bytes, says: str) -> None:
    player = dialogue()
    assert player.receive(answer) == []
    assert player.failed == says
    assert not player.ready


def test_what_is_neither_http_nor_media() -> None:
    with pytest.raises(ServerFault, match="no HTTP"):
        dialogue().receive(b"\x03 I speak RTMP\r\n\r\n")
    with pytest.raises(FlvError, match="not_flv"):
        dialogue().receive(OK + b"\r\n<html>")
    with pytest.raises(ServerFault, match="no fragmented MP4"):
        dialogue(".mp4").receive(OK + b"\r\n" + bytes(8))


def test_the_head_of_an_answer_is_bounded() -> None:
    fits = OK + b"X: " + b"x" * (MAX_HEAD_BYTES // 2)
    for ends in (b"\r\n\r\n", b"x" * (MAX_HEAD_BYTES // 3) + b"\r\n\r\n"):
        for step in (1000, 1 << 20):
            player = dialogue()
            for piece in pieces(fits + ends, step):
                player.receive(piece)
            assert player.ready
    for step in (1000, 1 << 20):
        player = dialogue()
        with pytest.raises(ServerFault, match="the head of an answer"):
            list(map(player.receive, pieces(fits + b"x" * (MAX_HEAD_BYTES // 2) + b"\r\n\r\n", step)))


# WebSocket.


def opened() -> tuple[WebSocketDialogue, bytes]:
    player = WebSocketDialogue(HttpUrl.parse("ws://h/live/s.flv"))
    lines = dict(line.split(": ", 1) for line in player.outgoing().decode().split("\r\n")[1:-2])
    assert lines["Upgrade"] == "websocket"
    assert lines["Connection"] == "Upgrade"
    assert lines["Sec-WebSocket-Version"] == "13"
    key = lines["Sec-WebSocket-Key"].encode()
    accept = base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
    head = b"HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
    return player, head + accept + b"\r\n\r\n"


SERVER = FrameProtocol(client=False, extensions=[])


def test_media_in_messages_whose_borders_mean_nothing() -> None:
    stream = b"".join(bytes(SERVER.send_data(FLV[at : at + 700])) for at in range(0, len(FLV), 700))
    for step in (1 << 20, 1, 97):
        player, answer = opened()
        got = [message for piece in pieces(answer + stream, step) for message in player.receive(piece)]
        assert [each.payload for each in got] == [body for _, _, body in FRAMES]
        assert player.ready


def test_a_ping_is_answered_and_a_close_ends() -> None:
    player, answer = opened()
    player.receive(answer + bytes(SERVER.ping(b"there?")))
    server = FrameProtocol(client=False, extensions=[])
    server.receive_bytes(player.outgoing() + player.keep_alive(5, 5))
    assert [frame.payload for frame in server.received_frames()] == [b"there?", b""]
    assert player.failed is None
    player.receive(bytes(SERVER.close(1000)))
    assert player.failed == "the stream has ended"


def test_who_accepts_another_web_socket_or_sends_text() -> None:
    player, answer = opened()
    assert player.receive(answer.replace(b"Accept: ", b"Accept: x")) == []
    assert player.failed == "it did not accept this WebSocket, but another"
    player, _ = opened()
    player.receive(OK + b"\r\n")
    assert player.failed == "HTTP 200"
    player, answer = opened()
    with pytest.raises(ServerFault, match="text"):
        player.receive(answer + bytes(SERVER.send_data("FLV")))
    player, answer = opened()
    with pytest.raises(ServerFault, match="no WebSocket"):
        player.receive(answer + b"\xff\xff\xff")
