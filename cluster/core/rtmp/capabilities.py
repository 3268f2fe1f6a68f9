"""What the two sides of a connect say they can do (Enhanced RTMP v2, "Enhancing NetConnection connect").

Absent properties mean a legacy peer, not a refusal: OBS publishes enhanced media and declares nothing.
Unknown properties, and values of the wrong type, are ignored.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

from cluster.core.amf.values import AmfValue

#: Entries kept of a list or map that a peer sends; a dozen FourCCs exist.
MAX_FOURCCS = 32
ANY_FOURCC = "*"

_FOURCC_LENGTH = 4
_MAX_U32 = 0xFFFFFFFF


class CapsEx(enum.IntFlag):
    RECONNECT = 1
    MULTITRACK = 2
    MOD_EX = 4
    TIMESTAMP_NANO_OFFSET = 8


class FourCcInfo(enum.IntFlag):
    CAN_DECODE = 1
    CAN_ENCODE = 2
    CAN_FORWARD = 4


class VideoFunction(enum.IntFlag):
    CLIENT_SEEK = 1
    CLIENT_HDR = 2
    CLIENT_VIDEO_PACKET_TYPE_METADATA = 4
    CLIENT_LARGE_SCALE_TILE = 8


#: FourCC and what can be done with it; pairs, since most peers have none and a dict costs 232 bytes.
FourCcInfoMap: TypeAlias = tuple[tuple[str, int], ...]

#: What is parsed and forwarded here; to reconnect on request is a client role's ability.
SERVER_CAPS_EX = CapsEx.MULTITRACK | CapsEx.MOD_EX | CapsEx.TIMESTAMP_NANO_OFFSET
CLIENT_CAPS_EX = SERVER_CAPS_EX | CapsEx.RECONNECT


@dataclass(frozen=True, slots=True)
class Capabilities:
    """The E-RTMP part of one side's connect. ``fourcc_list`` is None if there was none."""

    fourcc_list: tuple[str, ...] | None = None
    video_fourccs: FourCcInfoMap = ()
    audio_fourccs: FourCcInfoMap = ()
    caps_ex: int = 0
    video_function: int = 0

    @property
    def can_reconnect(self) -> bool:
        return bool(self.caps_ex & CapsEx.RECONNECT)


#: A peer that declares nothing: shared, since thousands of players do.
LEGACY = Capabilities()

#: What our client role declares: it hands everything on as it came.
RELAY = Capabilities(
    fourcc_list=(ANY_FOURCC,),
    video_fourccs=((ANY_FOURCC, FourCcInfo.CAN_FORWARD),),
    audio_fourccs=((ANY_FOURCC, FourCcInfo.CAN_FORWARD),),
    caps_ex=CLIENT_CAPS_EX,
)


def read(properties: AmfValue) -> Capabilities:
    """The capabilities in a connect's command object, or in the properties object of its answer."""
    if not isinstance(properties, dict):
        return LEGACY
    fourcc_list = properties.get("fourCcList")
    capabilities = Capabilities(
        _fourccs(fourcc_list) if isinstance(fourcc_list, list) else None,
        _info_map(properties.get("videoFourCcInfoMap")),
        _info_map(properties.get("audioFourCcInfoMap")),
        _flags(properties.get("capsEx")),
        _flags(properties.get("videoFunction")),
    )
    return LEGACY if capabilities == LEGACY else capabilities


def answer(capabilities: Capabilities) -> dict[str, AmfValue]:
    """What a server that relays every codec adds to the properties object of its ``_result``."""
    properties: dict[str, AmfValue] = {
        "videoFourCcInfoMap": {ANY_FOURCC: int(FourCcInfo.CAN_FORWARD)},
        "audioFourCcInfoMap": {ANY_FOURCC: int(FourCcInfo.CAN_FORWARD)},
        "capsEx": int(SERVER_CAPS_EX),
    }
    if capabilities.fourcc_list is not None:
        properties["fourCcList"] = list(capabilities.fourcc_list)
    return properties


def declare(capabilities: Capabilities) -> dict[str, AmfValue]:
    """What a client role adds to its connect's command object."""
    properties: dict[str, AmfValue] = {}
    if capabilities.fourcc_list is not None:
        properties["fourCcList"] = list(capabilities.fourcc_list)
    if capabilities.video_fourccs:
        properties["videoFourCcInfoMap"] = {name: int(info) for name, info in capabilities.video_fourccs}
    if capabilities.audio_fourccs:
        properties["audioFourCcInfoMap"] = {name: int(info) for name, info in capabilities.audio_fourccs}
    if capabilities.caps_ex:
        properties["capsEx"] = int(capabilities.caps_ex)
    return properties


def _fourccs(names: Iterable[AmfValue]) -> tuple[str, ...]:
    kept = [name for name in names if isinstance(name, str) and _is_fourcc(name)]
    return tuple(kept[:MAX_FOURCCS])


def _info_map(value: AmfValue) -> FourCcInfoMap:
    if not isinstance(value, dict):
        return ()
    pairs = [(name, _flags(info)) for name, info in value.items() if _is_fourcc(name)]
    return tuple(pairs[:MAX_FOURCCS])


def _is_fourcc(name: str) -> bool:
    return len(name) == _FOURCC_LENGTH or name == ANY_FOURCC


def _flags(value: AmfValue) -> int:
    """An AMF number as a set of bits; 0 for what is not one."""
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        return 0
    return int(value) if 0 <= value <= _MAX_U32 else 0
