"""How a reader stands to its stream: a table of every state and every input.

The table maps (state, input) to the state afterwards. A pair without an entry is ignored: it comes too late
(the reader has left meanwhile, or is paused), or it says what is so already. ``Readers`` acts on it.

That a socket takes bytes again is no input. It lets the reader read on, and that ends in one of these.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import TypeAlias


class ReaderState(enum.StrEnum):
    ABSENT = "absent"  # has not joined yet, or has left
    IN_STEP = "in step"  # has all up to the last flush; the next is one ``send`` of shared bytes
    # The same, but needs bytes of its own: an encoding of its own, audio or video off, or its video is held
    # back for a keyframe.
    PRIVATE = "private"
    BEHIND = "behind"  # its socket is full, or it has just joined; reads the log from its own cursor
    AWAITING = "awaiting"  # waits for a publisher; who joins is here until it has been placed
    PAUSED = "paused"  # is sent nothing until it resumes


class ReaderInput(enum.StrEnum):
    # What its peer asks for.
    JOIN = "joins"
    PAUSE = "pauses"
    RESUME = "resumes"
    WANT = "wants other media"
    LEAVE = "leaves"
    # What its sink does.
    FULL = "socket full"
    CUT = "flush cut"  # its socket took only a part of what everyone in step was sent
    CAUGHT_UP = "caught up"
    CAUGHT_UP_ALONE = "caught up alone"  # but the shared bytes are not right for it
    # What becomes of the stream.
    PLACE = "placed"  # there is a publisher, and a place in the log for this reader
    VIDEO_RETURNED = "video returned"  # it was gone, and the reader needs a keyframe
    PARK = "parked"  # the stream has ended for it


ReaderTable: TypeAlias = Mapping[tuple[ReaderState, ReaderInput], ReaderState]

_S = ReaderState
_I = ReaderInput


def _to(
    states: tuple[ReaderState, ...], what: ReaderInput, after: ReaderState
) -> dict[tuple[ReaderState, ReaderInput], ReaderState]:
    return {(state, what): after for state in states}


#: Who reads the log.
_READING = (_S.IN_STEP, _S.PRIVATE, _S.BEHIND)
_PRESENT = (*_READING, _S.AWAITING, _S.PAUSED)

READER: ReaderTable = {
    (_S.ABSENT, _I.JOIN): _S.AWAITING,
    (_S.AWAITING, _I.PLACE): _S.BEHIND,
    **_to(_PRESENT, _I.LEAVE, _S.ABSENT),
    **_to((*_READING, _S.AWAITING), _I.PAUSE, _S.PAUSED),
    # To where it joins anew.
    (_S.PAUSED, _I.RESUME): _S.AWAITING,
    # It reads what it wants from the log, and is back in step at once if its socket takes that.
    **_to(_READING, _I.WANT, _S.BEHIND),
    # Noted, for when it reads.
    (_S.AWAITING, _I.WANT): _S.AWAITING,
    (_S.PAUSED, _I.WANT): _S.PAUSED,
    # Also of one that is behind: a player of the same connection was told first.
    **_to(_READING, _I.FULL, _S.BEHIND),
    (_S.IN_STEP, _I.CUT): _S.BEHIND,
    # Another player of its connection was cut in the same flush, which filled the socket of both.
    (_S.BEHIND, _I.CUT): _S.BEHIND,
    **_to((_S.PRIVATE, _S.BEHIND), _I.CAUGHT_UP, _S.IN_STEP),
    **_to((_S.PRIVATE, _S.BEHIND), _I.CAUGHT_UP_ALONE, _S.PRIVATE),
    (_S.IN_STEP, _I.VIDEO_RETURNED): _S.PRIVATE,
    # One that is paused stays so, and is paused when the stream returns.
    **_to(_READING, _I.PARK, _S.AWAITING),
}
