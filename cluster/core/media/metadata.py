"""onMetaData as values: for those who show it or write it anew. Servers and players pass on its bytes."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any, Final

from cluster.core.amf import amf0
from cluster.core.amf.values import AmfValue, EcmaArray
from cluster.core.errors import AmfError, MisuseError
from cluster.core.limits import Limits
from cluster.core.media.classify import MediaFlags, flags_of, strip_set_data_frame
from cluster.core.message import MessageType

#: Values of one onMetaData. The keyframe index of a day's recording, with an object of two numbers for each
#: second, has 260,000; a command of a stranger's is bounded closer, as it costs a server.
MAX_METADATA_VALUES: Final = 300_000

#: Longer metadata has the keyframes of a recording in it. It is not read for each player or frame.
READ_METADATA_BYTES: Final = 16 * 1024

#: What describes a medium, by message type.
_OF_MEDIUM: Final[Mapping[int, frozenset[str]]] = {
    MessageType.VIDEO: frozenset(
        ("hasVideo", "videocodecid", "videodatarate", "width", "height", "framerate", "videoTrackIdInfoMap")
    ),
    MessageType.AUDIO: frozenset(
        ("hasAudio", "audiocodecid", "audiodatarate", "audiosamplerate", "audiosamplesize", "audiochannels",
         "stereo", "audioTrackIdInfoMap")
    ),
}  # fmt: skip

_HANDLER = "onMetaData"
_READING = Limits(max_amf_values=MAX_METADATA_VALUES)
#: Whoever has read one adds a few members of its own.
_WRITING = dataclasses.replace(_READING, max_amf_values=MAX_METADATA_VALUES + 64)


def read_metadata(type_id: int, payload: bytes | memoryview) -> dict[str, Any] | None:
    """The members of onMetaData; None if this is none, or cannot be read. Never raises.

    What stands behind them is not looked at.
    """
    if type_id != MessageType.DATA_AMF0:
        return None
    payload = strip_set_data_frame(payload)
    if not flags_of(type_id, payload) & MediaFlags.METADATA:
        return None
    try:
        members, _ = amf0.decode(payload, limits=_READING, offset=len(amf0.encode(_HANDLER)))
    except AmfError:
        return None
    return members if isinstance(members, dict) else None


def without_media(payload: bytes | memoryview, media: Iterable[int]) -> bytes | None:
    """onMetaData that says nothing of ``media`` (message types); None if it cannot be read.

    FFmpeg's player waits for a medium that the metadata names.
    """
    members = read_metadata(MessageType.DATA_AMF0, payload)
    if members is None:
        return None
    unwanted = frozenset[str]().union(*(_OF_MEDIUM[medium] for medium in media))
    try:
        return encode_metadata({name: value for name, value in members.items() if name not in unwanted})
    except MisuseError:  # it holds itself, or refers to one value too often
        return None


def encode_metadata(members: Mapping[str, AmfValue]) -> bytes:
    """onMetaData with these members, as an ECMA array: FFmpeg's player heeds no other."""
    return amf0.encode(_HANDLER, EcmaArray(members), limits=_WRITING)
