"""``rtmp-cluster probe --dump``: what both sides say, message by message, and no secrets."""

from __future__ import annotations

import asyncio
import json
import sys

import pytest

from cluster.client.dialogue import HEX_BYTES, Dialogue, describe_message
from cluster.core.amf import amf0
from cluster.core.amf.values import UNDEFINED, EcmaArray
from cluster.core.message import Message, MessageType
from cluster.core.rtmp import control, events
from cluster.core.rtmp.chunk_writer import ChunkWriter
from cluster.core.rtmp.command import Command, encode
from cluster.core.rtmp.control import PeerBandwidthLimit
from cluster.core.rtmp.events import Event
from cluster.process.exit_codes import ExitCode
from support.cluster_process import ROOT
from support.scripted_server import (
    AUDIO_HEADER,
    SEQUENCE_HEADER,
    Peer,
    accept,
    audio_frame,
    key_frame,
    serving,
)

VIDEO, AUDIO, DATA = MessageType.VIDEO, MessageType.AUDIO, MessageType.DATA_AMF0
HANDSHAKE = b"\x03" + bytes(4) + bytes((9, 0, 124, 2)) + bytes(1528) + bytes(1536)
TOKEN = "mF4xSecretx81"


@pytest.mark.parametrize(
    ("message", "line"),
    [
        (control.set_chunk_size(4096), "set chunk size 4096, 4 bytes"),
        (control.acknowledgement(7), "acknowledgement 7, 4 bytes"),
        (
            control.set_peer_bandwidth(2_500_000, PeerBandwidthLimit.SOFT),
            "set peer bandwidth 2500000 soft, 5 bytes",
        ),
        (control.stream_begin(1), "stream begin 1, 6 bytes"),
        (control.user_control(99, 5), "user control event 99 5, 6 bytes"),
        (Message(5, 0, b"\0"), "message of type 5, 1 bytes, cannot be read: "),
        (
            encode(Command("play", 3, None, (f"cam?key={TOKEN}", -2000.0, True), 1)),
            f'play on stream 1, transaction 3: null "cam?key={"*" * len(TOKEN)}" -2000 true',
        ),
        (Message(20, 0, b"\x00"), "message of type 20, 1 bytes, cannot be read: "),
        (
            Message(DATA, 40, amf0.encode("onMetaData", EcmaArray({"w": 2.0, "a": [None, UNDEFINED]})), 1),
            'data on stream 1 at 40 ms, 43 bytes: "onMetaData" {w: 2, a: [null, undefined]}',
        ),
        (Message(VIDEO, 40, key_frame(), 1), "video on stream 1 at 40 ms, 38 bytes: frames avc1 keyframe"),
        (Message(AUDIO, 0, AUDIO_HEADER, 1), "audio on stream 1 at 0 ms, 4 bytes: sequence header mp4a"),
        (Message(AUDIO, 0, b"", 1), "audio on stream 1 at 0 ms, 0 bytes: empty"),
        (Message(22, 0, b"ab", 1), "aggregate on stream 1, 2 bytes"),
        (Message(99, 0, b"ab"), "message of type 99, 2 bytes"),
        (
            encode(Command("x", 0, {"a": {"b": {"c": {"d": {}}}}, "long": "y" * 101})),
            'x, transaction 0: {a: {b: {c: {d: {…}}}}, long: "' + "y" * 100 + '…"}',
        ),
        (encode(Command("x", 0, None, ([0.0] * 25,))), "x, transaction 0: null [" + "0, " * 24 + "…]"),
    ],
)
def test_a_message_in_one_line(message: Message, line: str) -> None:
    shown = describe_message(message)
    assert shown.startswith(line) if line.endswith(": ") else shown == line


def dialogue() -> tuple[Dialogue, list[str]]:
    lines: list[str] = []
    return Dialogue("host:1935", lambda text: lines.extend(text.split("\n")), lambda: 12.34), lines


def test_both_sides_are_read_however_their_bytes_are_cut() -> None:
    writer = ChunkWriter()
    ours = HANDSHAKE + writer.encode(encode(Command("connect", 1, {"app": "live"})), 3)
    theirs = HANDSHAKE + ChunkWriter().encode(Message(VIDEO, 40, SEQUENCE_HEADER + bytes(500), 1), 6)
    told = []
    for step in (1, 7, 5000):
        tap, lines = dialogue()
        for start in range(0, len(ours), step):
            tap.sent(ours[start : start + step])
        for start in range(0, len(theirs), step):
            tap.received(theirs[start : start + step])
        told.append(lines)
    assert told[0] == told[1] == told[2]
    assert [line.strip() for line in told[0] if " ms " in line[:16]] == [
        "12.3 ms - connected to host:1935",
        "12.3 ms > handshake C0, C1: protocol 3, 1537 bytes, by version 9.0.124.2",
        "12.3 ms > handshake C2: 1536 bytes",
        '12.3 ms > connect, transaction 1: {app: "live"}',
        "12.3 ms < handshake S0, S1: protocol 3, 1537 bytes, by version 9.0.124.2",
        "12.3 ms < handshake S2: 1536 bytes",
        "12.3 ms < video on stream 1 at 40 ms, 543 bytes: sequence header avc1",
    ]
    assert told[0][-5].strip().startswith("00000000  17 00 00 00 00 01 42")
    assert told[0][-1].strip() == f"... {543 - HEX_BYTES} more bytes"


def test_what_cannot_be_read_is_said_once() -> None:
    tap, lines = dialogue()
    tap.received(HANDSHAKE + b"\xc3" * 50)
    tap.received(b"\xc3" * 50)
    assert [line for line in lines if "cannot" in line] == [
        "     12.3 ms < cannot be read on: format 3 begins chunk stream 3"
    ]


def test_a_server_steers_no_terminal() -> None:
    tap, lines = dialogue()
    tap.received(HANDSHAKE + ChunkWriter().encode(encode(Command("\x1b[2J\n", 0, None, ("\x9b\r",))), 3))
    assert all(line.isprintable() for line in lines)


@pytest.mark.parametrize("rest", [b"", b"\x0d\xff"])
def test_secrets_are_hidden_in_hex_and_nothing_else_is(rest: bytes) -> None:
    """0x3f is a question mark, and the first byte of the number 1."""
    tap, lines = dialogue()
    command = encode(Command("play", 1, None, (31.7, f"a?k={TOKEN}"), 1))
    tap.sent(HANDSHAKE + ChunkWriter().encode(command._replace(payload=bytes(command.payload) + rest), 3))
    shown = "\n".join(lines)
    assert TOKEN.encode().hex(" ")[:12] not in shown
    assert TOKEN[:4] not in shown
    if not rest:  # else it is no AMF, and all that might be an address is hidden
        assert "3f f0 00" in shown
        assert "40 3f b3 33" in shown


def playing(peer: Peer, event: Event) -> None:
    accept(peer, event)
    if isinstance(event, events.PlayRequested):
        # The keyframe last: probe leaves once it has it.
        frames = (AUDIO_HEADER, audio_frame()), (SEQUENCE_HEADER, key_frame())
        for type_id, payloads in zip((AUDIO, VIDEO), frames, strict=True):
            for payload in payloads:
                peer.send(type_id, 40, payload)


def test_the_command_shows_both_sides_on_stderr_and_the_report_on_stdout() -> None:
    async def work() -> tuple[int | None, bytes, bytes]:
        async with serving(playing) as server:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "cluster", "probe", "--dump", "--json",
                server.url(f"live/cam?token={TOKEN}", user=f"me:{TOKEN}@"),
                cwd=ROOT, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            )  # fmt: skip
            async with asyncio.timeout(20):
                out, err = await process.communicate()
            return process.returncode, out, err

    code, out, err = asyncio.run(work())
    shown = err.decode()
    assert code == ExitCode.OK, shown
    assert TOKEN not in shown + out.decode()
    assert json.loads(out)["video"] == ["avc1"]
    said = [line.partition(" ms ")[2] for line in shown.splitlines() if " ms " in line[:16]]
    order = [
        "- connected to 127.0.0.1:", "> handshake C0, C1: ", "< handshake S0, S1: ",
        "> connect, transaction 1: {",
        "< _result, transaction 1: {", "> createStream, ",
        '> play on stream 1, transaction 3: null "cam?token=*',
        "< onStatus on stream 1, ", "< audio on stream 1 at 40 ms, 10 bytes: frames mp4a",
        "< video on stream 1 at 40 ms, 43 bytes: sequence header avc1", "> deleteStream, ",
    ]  # fmt: skip
    places = [next((i for i, line in enumerate(said) if line.startswith(each)), -1) for each in order]
    assert places == sorted(set(places)), list(zip(places, order, strict=True))
    assert places[0] == 0
