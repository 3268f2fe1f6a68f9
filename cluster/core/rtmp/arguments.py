"""Command arguments as real peers write them: wrong types, missing tails, two units for one field."""

from __future__ import annotations

import math

from cluster.core.amf.values import UNDEFINED, AmfValue
from cluster.core.keys import clean_name

LIVE_ELSE_RECORDED = -2.0
LIVE_ONLY = -1.0
TO_THE_END = -1.0
NO_STREAM_ID = -1

#: Longer names, apps and versions are no peer's honest ones, and would be kept for its lifetime.
MAX_NAME_CHARACTERS = 4096

#: -1 in milliseconds: the argument is in seconds by RTMP 1.0, section 7.2.2.1, yet librtmp and FFmpeg
#: send milliseconds.
_LIVE_ONLY_MS = -1000.0


_APPENDING_MODES = (0.0, 2.0)


def stream_name(value: AmfValue) -> tuple[str, str] | None:
    """A stream name without its query, and the query; None if it is not a usable string.

    No name at all is an empty one: the app may say everything.
    """
    if value is None or value is UNDEFINED:
        return "", ""
    if not isinstance(value, str) or len(value) > MAX_NAME_CHARACTERS:
        return None
    return clean_name(value)


def number(value: AmfValue, default: float) -> float:
    """A finite number, or ``default``."""
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        return default
    return float(value)


def stream_id(value: AmfValue) -> int:
    """A message stream id; NO_STREAM_ID for what is none."""
    return max(int(number(value, NO_STREAM_ID)), NO_STREAM_ID)


def play_start_s(value: AmfValue) -> float:
    """``LIVE_ONLY``, ``LIVE_ELSE_RECORDED`` (any other negative, or none) or a position in seconds."""
    start = number(value, LIVE_ELSE_RECORDED)
    if start >= 0:
        return start
    return LIVE_ONLY if start in (LIVE_ONLY, _LIVE_ONLY_MS) else LIVE_ELSE_RECORDED


def play_duration_s(value: AmfValue) -> float:
    """Seconds of media; ``TO_THE_END`` for any negative, or none.

    0 is all of it, too: xiu sends it, and means that. RTMP 1.0, section 7.2.2.1, has 0 play one frame.
    """
    duration = number(value, TO_THE_END)
    return duration if duration > 0 else TO_THE_END


def play_reset(value: AmfValue) -> bool:
    """Whether a play replaces what is played; true if nothing is said.

    A boolean, or Flash's number of a playlist mode: 0 and 2 append to the playlist, 1 and 3 clear it.
    """
    if isinstance(value, bool):
        return value
    return number(value, 1.0) not in _APPENDING_MODES
