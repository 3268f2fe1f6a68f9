"""``rtmp-cluster play`` and ``probe`` at servers that have nothing to play, yet, or no longer."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from cluster.client.recording import Recording
from cluster.core.amf import amf0
from cluster.core.amf.values import EcmaArray
from cluster.core.errors import EnvironmentFault
from cluster.core.media.flv import FlvReader
from cluster.core.message import Message, MessageType
from cluster.core.rtmp import events
from cluster.core.rtmp.events import Event
from cluster.process.exit_codes import ExitCode
from support.cluster_process import ROOT
from support.scripted_server import (
    AUDIO_HEADER,
    SEQUENCE_HEADER,
    Peer,
    Script,
    ScriptedServer,
    accept,
    audio_frame,
    inter_frame,
    key_frame,
    serving,
    until,
)

VIDEO, AUDIO, DATA = MessageType.VIDEO, MessageType.AUDIO, MessageType.DATA_AMF0
METADATA = amf0.encode("onMetaData", EcmaArray({"width": 2.0}))
TIMEOUT_S = 60.0

#: What servers send players before there is a frame; most of it also if nobody publishes.
NO_FRAMES = {
    "nothing": [],
    "sample access": [(DATA, amf0.encode("|RtmpSampleAccess", True, True))],
    "metadata": [(DATA, METADATA)],
    "headers": [(DATA, METADATA), (VIDEO, SEQUENCE_HEADER), (AUDIO, AUDIO_HEADER)],
    "empty messages": [(VIDEO, b""), (AUDIO, b"")],
    "an end": [(VIDEO, SEQUENCE_HEADER), (VIDEO, b"\x17\x02\x00\x00\x00")],
    "a cue point": [(DATA, amf0.encode("onCuePoint", {"name": "x"}))],
}


def playing(then: Callable[[Peer], None]) -> Script:
    """Accept everybody, and do ``then`` for each player."""

    def script(peer: Peer, event: Event) -> None:
        accept(peer, event)
        if isinstance(event, events.PlayRequested):
            then(peer)

    return script


def send(peer: Peer, *messages: tuple[int, bytes], at: int = 0) -> None:
    for type_id, payload in messages:
        peer.session.send(Message(type_id, at, payload, 1))
    peer.flush()


def send_frames(peer: Peer, number: int = 0) -> None:
    """A frame now and every 20 ms, as long as somebody is there."""
    if not peer.writer.is_closing():
        payload = inter_frame(number) if number % 25 else key_frame(number)
        send(peer, (VIDEO, payload), at=5000 + 20 * number)
        asyncio.get_running_loop().call_later(0.02, send_frames, peer, number + 1)


@asynccontextmanager
async def command(server: ScriptedServer, *arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "cluster", arguments[0], server.url(), *arguments[1:],
        cwd=ROOT, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        async with asyncio.timeout(TIMEOUT_S):
            yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


def outcome(script: Script, *arguments: str) -> tuple[int | None, bytes, str]:
    """The exit code of a command at such a server, and what it wrote on stdout and stderr."""

    async def work() -> tuple[int | None, bytes, str]:
        async with serving(script) as server, command(server, *arguments) as process:
            out, err = await process.communicate()
            return process.returncode, out, err.decode()

    return asyncio.run(work())


def tags_of(path: Path) -> list[Message]:
    reader = FlvReader()
    tags = reader.feed(path.read_bytes())
    reader.finish()
    return tags


@pytest.mark.parametrize("before", NO_FRAMES.values(), ids=NO_FRAMES)
@pytest.mark.parametrize("there", [False, True])
def test_a_duration_without_a_frame_is_no_success(
    before: list[tuple[int, bytes]], there: bool, tmp_path: Path
) -> None:
    path = tmp_path / "got.flv"
    if there:
        path.write_bytes(b"precious")
    script = playing(lambda peer: send(peer, *before))
    code, _, err = outcome(script, "play", "-o", str(path), "--duration", "0.1", "--timeout", "0.5")
    assert code == ExitCode.REFUSED, err
    last = err.splitlines()[-1]
    assert last.startswith("rtmp-cluster: no audio or video of rtmp://127.0.0.1:")
    assert last.endswith("came within 0.5 s: is it published?")
    assert path.read_bytes() == b"precious" if there else not path.exists()


@pytest.mark.parametrize("output", ["a file", "standard output", "none"])
def test_a_duration_begins_with_the_first_frame(output: str, tmp_path: Path) -> None:
    path = tmp_path / "got.flv"

    def begin(peer: Peer) -> None:
        send(peer, *NO_FRAMES["sample access"], *NO_FRAMES["headers"], *NO_FRAMES["a cue point"])
        asyncio.get_running_loop().call_later(0.8, send_frames, peer)

    options = {"a file": ["-o", str(path)], "standard output": ["-o", "-"], "none": []}[output]
    code, out, err = outcome(playing(begin), "play", *options, "--duration", "0.4")
    assert code == ExitCode.OK, err
    if output == "none":
        return
    if output == "standard output":
        path.write_bytes(out)
    tags = tags_of(path)
    assert [tag.type_id for tag in tags[:4]] == [DATA, VIDEO, AUDIO, VIDEO]
    assert [bytes(tag.payload) for tag in tags[1:4]] == [SEQUENCE_HEADER, AUDIO_HEADER, key_frame(0)]
    assert [tag.timestamp for tag in tags[:4]] == [0, 0, 0, 0]
    assert b"width" in bytes(tags[0].payload)
    assert len(tags[3:]) >= 2


@pytest.mark.parametrize("reconnect", [False, True])
def test_a_stream_that_ends_without_a_frame_is_no_success(reconnect: bool, tmp_path: Path) -> None:
    def end(peer: Peer) -> None:
        send(peer, *NO_FRAMES["headers"])
        peer.session.end_play(1)

    options = ["-o", str(tmp_path / "got.flv"), *["--reconnect"] * reconnect]
    code, _, err = outcome(playing(end), "play", *options)
    assert code == ExitCode.REFUSED, err
    assert err.splitlines()[-1].endswith("came: is it published?")
    assert not (tmp_path / "got.flv").exists()


def test_who_interrupts_it_before_the_first_frame_gets_no_file_and_no_error(tmp_path: Path) -> None:
    async def work() -> None:
        script = playing(lambda peer: send(peer, *NO_FRAMES["headers"]))
        options = ["-o", str(tmp_path / "got.flv")]
        async with serving(script) as server, command(server, "play", *options) as process:
            assert process.stderr is not None
            assert b"waiting for the first frame" in await process.stderr.readline()
            process.send_signal(signal.SIGINT)
            assert await process.wait() == ExitCode.OK

    asyncio.run(work())
    assert not (tmp_path / "got.flv").exists()


@pytest.mark.parametrize("reconnect", [False, True])
def test_the_end_of_a_stream_is_the_end_of_a_play_though_the_server_keeps_the_connection(
    reconnect: bool, tmp_path: Path
) -> None:
    """A server may keep players past UnpublishNotify, and send them the stream when it returns."""
    path = tmp_path / "got.flv"

    def end_and_begin_again(peer: Peer) -> None:
        send(peer, (VIDEO, SEQUENCE_HEADER), (VIDEO, key_frame(1)), (VIDEO, inter_frame(2)))
        peer.session.send_user_control(1, 1)
        peer.session.send_status(1, "status", "NetStream.Play.UnpublishNotify", "gone")
        asyncio.get_running_loop().call_later(0.05, begin_again, peer)

    def begin_again(peer: Peer) -> None:
        peer.session.send_status(1, "status", "NetStream.Play.PublishNotify", "back")
        send(peer, (VIDEO, SEQUENCE_HEADER), (VIDEO, key_frame(7)))

    async def work() -> None:
        async with serving(playing(end_and_begin_again)) as server:
            options = ["-o", str(path), *["--reconnect"] * reconnect]
            async with command(server, "play", *options) as process:
                _, err = await process.communicate()
                assert process.returncode == ExitCode.OK, err
            await until(server.peer.gone.is_set, "the player to close its connection")
            assert len(server.peers) == 1

    asyncio.run(work())
    frames = [bytes(tag.payload) for tag in tags_of(path)[1:]]
    assert frames == [SEQUENCE_HEADER, key_frame(1), inter_frame(2)]


@pytest.mark.parametrize("before", NO_FRAMES.values(), ids=NO_FRAMES)
def test_a_probe_that_sees_no_frame_says_so(before: list[tuple[int, bytes]]) -> None:
    script = playing(lambda peer: send(peer, *before))
    code, out, err = outcome(script, "probe", "--json", "--timeout", "0.4")
    report = json.loads(out)
    assert code == ExitCode.REFUSED, err
    assert report["problem"] == "no audio or video within 0.4 s: is it published?"
    assert report["first_keyframe_ms"] is None


def test_a_recording_holds_the_latest_headers_until_the_first_frame(tmp_path: Path) -> None:
    path = tmp_path / "got.flv"
    other = SEQUENCE_HEADER[:-1] + b"\x81"
    with Recording(path) as recording:
        for payload in (SEQUENCE_HEADER, other, SEQUENCE_HEADER[:5]):
            recording.write(Message(VIDEO, 100, payload))
        recording.write(Message(DATA, 100, METADATA))
        recording.write(Message(AUDIO, 100, AUDIO_HEADER))
        assert not path.exists()
        recording.write(Message(AUDIO, 9000, audio_frame()))
        recording.write(Message(AUDIO, 9020, audio_frame()))
    tags = tags_of(path)
    assert [bytes(tag.payload) for tag in tags[1:]] == [other, AUDIO_HEADER, audio_frame(), audio_frame()]
    assert [tag.timestamp for tag in tags] == [0, 0, 0, 0, 20]


@pytest.mark.parametrize(("name", "said"), [("got.mp4", True), ("got.FLV", False), ("got", False)])
def test_a_name_of_another_kind_of_file_is_told_of(name: str, said: bool, tmp_path: Path) -> None:
    path = tmp_path / name
    code, _, err = outcome(playing(send_frames), "play", "-o", str(path), "--duration", "0.1")
    assert code == ExitCode.OK, err
    assert path.read_bytes().startswith(b"FLV")
    assert (f"{path} will be FLV, whatever its name says" in err.splitlines()) == said


def test_a_file_that_cannot_be_written_is_said_before_anything_is_played(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentFault, match="there is no folder"):
        Recording(tmp_path / "nowhere" / "got.flv")
    code, _, err = outcome(playing(send_frames), "play", "-o", str(tmp_path / "nowhere" / "got.flv"))
    assert code == ExitCode.ENVIRONMENT
    folder = tmp_path / "nowhere"
    says = f"cannot write {folder}/got.flv: there is no folder {folder}; make it first"
    assert err == f"rtmp-cluster: {says}\n", "and nothing else"
