"""A file to be published is looked at before a server is."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cluster.commands.flv_files import check
from cluster.core.errors import EnvironmentFault
from cluster.core.media.flv import encode_header, encode_tag
from cluster.core.message import MessageType
from cluster.process.options import ConfigError
from support.scripted_server import SEQUENCE_HEADER, key_frame

HEADER = encode_header(audio=True, video=True)
VIDEO_HEADER = b"".join(encode_tag(MessageType.VIDEO, 0, SEQUENCE_HEADER))
FRAME = b"".join(encode_tag(MessageType.VIDEO, 0, key_frame()))


def fault(path: Path, data: bytes) -> str:
    path.write_bytes(data)
    with pytest.raises(ConfigError) as raised:
        check(path)
    return str(raised.value)


@pytest.mark.parametrize("rest", [b"", FRAME[:-9], b"\x00" * 400])
def test_a_file_with_a_frame_may_be_published_whatever_follows(rest: bytes, tmp_path: Path) -> None:
    path = tmp_path / "film.flv"
    path.write_bytes(HEADER + VIDEO_HEADER + FRAME + rest)
    check(path)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "is empty: nothing to publish"),
        (b"\x00\x00\x00\x20ftypisom", "is not FLV but MP4. FFmpeg makes FLV of it: ffmpeg -i "),
        (b"not a film", "is not an FLV file. FFmpeg makes FLV of it: ffmpeg -i "),
        (HEADER, "has no audio and no video in it"),
        (HEADER + VIDEO_HEADER, "has no audio and no video in it"),
        (HEADER[:5], "ends before its first audio or video"),
        (HEADER + FRAME[:20], "ends before its first audio or video"),
        (b"FLV\x01\x05\xff\xff\xff\xff", "cannot be published: the first tag is said to be at"),
    ],
)
def test_what_is_wrong_is_said(data: bytes, says: str, tmp_path: Path) -> None:
    path = tmp_path / "film.flv"
    assert fault(path, data).startswith(f"{path} {says}")


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("a.mp4", "ffmpeg -i a.mp4 -c copy a.flv "),
        ("a b.mp4", "ffmpeg -i 'a b.mp4' -c copy 'a b.flv' "),
        ("a.flv", "ffmpeg -i a.flv -c copy a-2.flv "),
        ("a", "ffmpeg -i a -c copy a.flv "),
    ],
)
def test_the_line_that_makes_flv_can_be_pasted(
    name: str, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert line in fault(Path(name), b"\x00\x00\x00\x20ftypisom")


def test_a_pipe_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    check(path)  # would wait for a writer


def test_what_cannot_be_read_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "film.flv"
    path.write_bytes(b"FLV")

    def refuse(self: Path, mode: str) -> None:
        raise PermissionError(13, "Permission denied")  # root may read anything

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(EnvironmentFault, match=r"cannot read .*film.flv: Permission denied"):
        check(path)
