"""``rtmp-cluster publish``, ``play`` and ``probe`` as typed, against a real edge."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cluster.commands.main import run
from cluster.core.amf import amf0
from cluster.core.media.flv import FlvError, FlvReader, encode_header, encode_tag
from cluster.core.message import Message, MessageType
from cluster.process.exit_codes import ExitCode
from support.cluster_process import ROOT, Edge
from support.ffmpeg import Packets, hashes_of_file
from support.polling import wait_until
from support.scripted_server import SEQUENCE_HEADER, inter_frame, key_frame

Start = Callable[..., "Command"]


class Command:
    """One command as a child process; stdout and stderr in files."""

    def __init__(self, arguments: list[str], directory: Path, number: int) -> None:
        self._out, self._err = (directory / f"command-{number}.{name}" for name in ("out", "err"))
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "cluster", *arguments],
                cwd=ROOT, stdin=subprocess.DEVNULL, stdout=out, stderr=err,
            )  # fmt: skip

    @property
    def out(self) -> bytes:
        return self._out.read_bytes()

    @property
    def err(self) -> str:
        return self._err.read_text(errors="replace")

    def wait(self, timeout_s: float = 60) -> int:
        return self.process.wait(timeout_s)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts commands; those that still run are killed with the test."""
    commands: list[Command] = []

    def start_command(*arguments: str) -> Command:
        commands.append(Command(list(arguments), tmp_path, len(commands)))
        return commands[-1]

    try:
        yield start_command
    finally:
        for command in commands:
            if command.process.poll() is None:
                command.process.kill()
            command.process.wait()


def messages_of(path: Path) -> list[Message]:
    """The tags of a file, which may be cut within its last."""
    reader = FlvReader()
    messages = reader.feed(path.read_bytes()) if path.exists() else []
    with contextlib.suppress(FlvError):
        reader.finish()
    return messages


def video_of(path: Path) -> list[int]:
    """The timestamps of a file's video frames."""
    return [m.timestamp for m in messages_of(path) if m.type_id == MessageType.VIDEO and m.payload[1] == 1]


def test_a_file_goes_through_and_ends(
    edge: Edge, start: Start, short_clip: Path, short_source: Packets, tmp_path: Path
) -> None:
    url = edge.url("command")
    playing = start("play", url, "-o", str(tmp_path / "got.flv"))
    wait_until(lambda: "waiting for the first frame" in playing.err, "the player")
    publishing = start("publish", str(short_clip), url)
    assert publishing.wait() == ExitCode.OK, publishing.err
    assert playing.wait() == ExitCode.OK, playing.err  # the stream has ended
    got = hashes_of_file(tmp_path / "got.flv", tmp_path / "got")
    assert [p.digest for p in got.video] == [p.digest for p in short_source.video]
    assert [p.digest for p in got.audio] == [p.digest for p in short_source.audio]
    for command in (playing, publishing):
        first, *_, last = command.err.splitlines()
        assert url in first
        assert f"{len(short_source.video)} frames, 2 keyframes" in last
        assert "\r" not in command.err
        assert command.out == b""


def test_a_loop_never_steps_back_and_interrupts_leave_valid_files(
    edge: Edge, start: Start, short_clip: Path, tmp_path: Path
) -> None:
    url = edge.url("loop")
    publishing = start("publish", "--loop", "--reconnect", str(short_clip), url)
    wait_until(lambda: "waiting" in publishing.err, "the publisher")
    ended, killed, piped = (tmp_path / name for name in ("ended.flv", "killed.flv", "piped.flv"))
    interrupted = start("play", "--reconnect", url, "--output", str(ended))
    slain = start("play", url, "-o", str(killed))
    limited = start("play", url, "-o", "-", "--duration", "1")
    assert limited.wait() == ExitCode.OK, limited.err
    piped.write_bytes(limited.out)
    assert 5 < len(video_of(piped)) < 100
    wait_until(lambda: video_of(ended)[-1:] > [4000], "a second pass")
    slain.process.kill()
    interrupted.process.send_signal(signal.SIGINT)
    publishing.process.send_signal(signal.SIGTERM)
    assert interrupted.wait() == ExitCode.OK, interrupted.err
    assert publishing.wait() == ExitCode.OK, publishing.err
    for path in (ended, killed):
        stamps = video_of(path)
        assert stamps == sorted(set(stamps)), f"a step back in {path.name}"
        gaps = [after - before for before, after in itertools.pairwise(stamps)]
        assert max(gaps) <= 200, "a hole between two passes"  # the sound of the clip is longer
    described = amf0.decode_all(messages_of(ended)[0].payload)[1]
    assert isinstance(described, dict)
    assert described["duration"] == pytest.approx(video_of(ended)[-1] / 1000, abs=0.2)
    assert described["filesize"] == ended.stat().st_size
    assert described["width"] == 640


def test_probe_as_text_and_as_json(edge: Edge, start: Start, short_clip: Path) -> None:
    url = edge.url("probing")
    publishing = start("publish", "--loop", str(short_clip), url)
    wait_until(lambda: "waiting" in publishing.err, "the publisher")
    text, machine = start("probe", url), start("probe", "--json", url)
    assert text.wait() == ExitCode.OK, text.err
    lines = {line[:18].strip(): line[18:].strip() for line in text.out.decode().splitlines()}
    assert lines["video"] == "avc1"
    assert lines["handshake"] == "digest-first"
    assert lines["first keyframe"].endswith(" ms")
    assert machine.wait() == ExitCode.OK, machine.err
    report = json.loads(machine.out)
    assert report["audio"] == ["mp4a"]
    assert 0 < report["connected_ms"] <= report["playing_ms"] <= report["first_keyframe_ms"]
    assert report["problem"] == ""
    dumped = start("probe", "--dump", f"{url}?key=4711")
    assert dumped.wait() == ExitCode.OK, dumped.err
    assert " > connect, transaction 1: {" in dumped.err
    assert " < video on stream 1 at " in dumped.err
    assert "4711" not in dumped.err + dumped.out.decode()
    nobody = start("probe", "--timeout", "0.3", "--json", edge.url("nobody"))
    assert nobody.wait() == ExitCode.REFUSED
    assert "is it published?" in json.loads(nobody.out)["problem"]


@pytest.mark.parametrize("loop", [False, True])
def test_wrong_sizes_behind_the_tags_are_said_once(
    loop: bool, edge: Edge, start: Start, tmp_path: Path
) -> None:
    """FFmpeg, flv.js and nginx-rtmp read such files: each tag has its own size in front."""
    path, url = tmp_path / "odd.flv", edge.url(f"odd-{loop}")
    tags = [(MessageType.VIDEO, 0, SEQUENCE_HEADER)]
    tags += [(MessageType.VIDEO, 40 * n, inter_frame(n) if n % 10 else key_frame(n)) for n in range(20)]
    running = itertools.accumulate(11 + len(payload) for _, _, payload in tags)
    data = b"".join(
        b"".join(encode_tag(*tag))[:-4] + size.to_bytes(4, "big")
        for tag, size in zip(tags, running, strict=True)
    )
    path.write_bytes(encode_header(True, True) + data)
    playing = start("play", url, "-o", str(tmp_path / "got.flv"))
    wait_until(lambda: "waiting for the first frame" in playing.err, "the player")
    publishing = start("publish", *["--loop"] * loop, str(path), url)
    if loop:
        wait_until(lambda: len(video_of(tmp_path / "got.flv")) > 45, "a third pass")
        publishing.process.send_signal(signal.SIGINT)
    assert publishing.wait() == ExitCode.OK, publishing.err
    said = [line for line in publishing.err.splitlines() if "odd.flv" in line]
    assert said == [f"{path}: sizes behind its tags (PreviousTagSize) are wrong, and not needed"]
    assert playing.wait() == ExitCode.OK, playing.err
    assert loop or len(video_of(tmp_path / "got.flv")) == 20


def test_a_file_that_ends_within_a_tag_is_published_up_to_it(
    edge: Edge, start: Start, tmp_path: Path
) -> None:
    path = tmp_path / "cut.flv"
    tag = b"".join(encode_tag(MessageType.VIDEO, 0, key_frame()))
    path.write_bytes(encode_header(True, True) + tag + tag[:-9])
    publishing = start("publish", str(path), edge.url("cut-short"))
    assert publishing.wait() == ExitCode.OK, publishing.err
    assert f"{path}: it ends in the middle of a tag, which is left out" in publishing.err.splitlines()


def test_refusals_are_one_line_and_a_code(
    edge: Edge, start: Start, short_clip: Path, tmp_path: Path
) -> None:
    url = edge.url("refused")
    first = start("publish", "--loop", str(short_clip), url)
    wait_until(lambda: "waiting" in first.err, "the publisher")
    second = start("publish", str(short_clip), url)
    assert second.wait() == ExitCode.REFUSED
    says = "rtmp-cluster: the server refused the publish: NetStream.Publish.BadName: live/refused is"
    assert second.err.startswith(says)
    assert second.err.count("\n") == 1
    kept = tmp_path / "kept.flv"
    kept.write_bytes(b"precious")
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    nobody = start("play", f"rtmp://127.0.0.1:{port}/live/x", "-o", str(kept))
    assert nobody.wait() == ExitCode.UNREACHABLE
    says = "Connection refused; is the address right, and an RTMP server there?"
    assert nobody.err == f"rtmp-cluster: cannot connect to 127.0.0.1:{port}: {says}\n"
    assert kept.read_bytes() == b"precious"


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["publish", "{clip}", "http://h/live/x"], ExitCode.USAGE, "the scheme is neither rtmp nor rtmps"),
        (["publish", "{clip}", "rtmp://h/"], ExitCode.USAGE, "names no stream: expected rtmp://HOST/APP/NAME"),
        (["publish", "{none}", "rtmp://h/live/x"], ExitCode.USAGE, "does not exist"),
        (["play", "rtmp://h/live/x", "--duration", "0"], ExitCode.USAGE, "--duration"),
        (["play", "rtmp://h/live/x", "--timeout", "never"], ExitCode.USAGE, "--timeout"),
        (["probe", "rtmps://h/live/x", "--ca-file", "{none}"], ExitCode.USAGE, "--ca-file"),
        (["probe", "rtmps://127.0.0.1:1/live/x", "--ca-file", "{clip}"], ExitCode.ENVIRONMENT, "(PEM)"),
    ],
)
def test_wrong_usage_is_one_line(
    arguments: list[str], code: ExitCode, says: str, short_clip: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    named = {"clip": str(short_clip), "none": str(short_clip) + ".none"}
    assert run([argument.format(**named) for argument in arguments]) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert says in err


def test_a_file_without_a_frame_is_said_without_a_connection(start: Start, tmp_path: Path) -> None:
    path = tmp_path / "film.flv"
    path.write_bytes(encode_header(True, True))
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        command = start("publish", str(path), f"rtmp://127.0.0.1:{server.getsockname()[1]}/live/x")
        assert command.wait() == ExitCode.USAGE
        assert command.err == f"rtmp-cluster: {path} has no audio and no video in it: nothing to publish\n"
        with pytest.raises(BlockingIOError):
            server.accept()


def test_a_pipe_without_a_frame_is_no_success(edge: Edge, start: Start, tmp_path: Path) -> None:
    path = tmp_path / "pipe.flv"
    os.mkfifo(path)
    command = start("publish", str(path), edge.url("pipe"))
    path.write_bytes(encode_header(True, True))
    assert command.wait() == ExitCode.USAGE
    says = f"rtmp-cluster: {path} had no audio and no video in it: nothing was published"
    assert command.err.splitlines()[-1] == says
