"""Files to be published, looked at before a server is: what is wrong with one should take no stream key."""

from __future__ import annotations

import shlex
from pathlib import Path

from cluster.core.errors import EnvironmentFault
from cluster.core.media.classify import is_coded
from cluster.core.media.containers import LONGEST_BYTES, container_of
from cluster.core.media.flv import FlvError, FlvFault, FlvReader
from cluster.process.options import ConfigError

_READ_BYTES = 256 * 1024


def check(path: Path) -> None:
    """ConfigError if ``path`` is not FLV or has no audio or video, EnvironmentFault if it cannot be read.

    It is read up to its first frame. A pipe is not looked at: what is read from it is gone.
    """
    if not path.is_file():
        return
    try:
        with path.open("rb") as file:
            beginning = file.read(LONGEST_BYTES)
            file.seek(0)
            reader = FlvReader()
            while data := file.read(_READ_BYTES):
                if any(map(is_coded, reader.feed(data))):
                    return
            reader.finish()
    except OSError as error:
        raise EnvironmentFault(f"cannot read {path}: {error.strerror}") from None
    except FlvError as error:
        raise ConfigError(_what_is_wrong(path, beginning, error)) from None
    raise ConfigError(f"{path} has no audio and no video in it: nothing to publish")


def _what_is_wrong(path: Path, beginning: bytes, error: FlvError) -> str:
    if not beginning:
        return f"{path} is empty: nothing to publish"
    if error.fault is FlvFault.NOT_FLV:
        kind = container_of(beginning)
        is_not = f"{path} is not FLV but {kind}" if kind else f"{path} is not an FLV file"
        return f"{is_not}. FFmpeg makes FLV of it: {_ffmpeg_line(path)}"
    if error.fault is FlvFault.TRUNCATED:
        return f"{path} ends before its first audio or video: nothing to publish"
    return f"{path} cannot be published: {error.detail}"


def _ffmpeg_line(path: Path) -> str:
    made = path.with_suffix(".flv")
    if made == path:
        made = path.with_name(f"{path.stem}-2.flv")
    source, target = (shlex.quote(str(each)) for each in (path, made))
    return (
        f"ffmpeg -i {source} -c copy {target} "
        "(for codecs that it cannot copy: -c:v libx264 -c:a aac instead of -c copy)"
    )
