"""What a splice makes of each input: a table of every state and every input.

The table maps (state, input) to a ``Step``. A pair without an entry is ignored: the input is of another
source, or nobody needs it. While no source is known every source is a higher one.

Only the registry names a source. Anybody on the bus can write a higher one into an envelope or a snapshot,
and would end the stream for good.

A source is an epoch and its origin. Of two origins with one epoch (both granted in the same millisecond by
routers that could not see each other) the one whose worker id is higher wins, here as in the registry.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import NamedTuple, TypeAlias


class SpliceState(enum.StrEnum):
    """Where one remote stream stands in this worker."""

    IDLE = "idle"  # no source is known
    AWAITING = "awaiting"  # a snapshot is needed; live envelopes of the source are held back
    LIVE = "live"  # envelopes are passed on in the order of their numbers


class SpliceInput(enum.StrEnum):
    """What comes, and how it stands to what is known: the source, and the number that is wanted next."""

    UP_LOWER = "lower source named"  # the registry names a source
    UP_AGAIN = "source named again"
    UP_HIGHER = "higher source named"  # or any other, once the one that is known has ended
    ENVELOPE_OTHER = "envelope of another source"
    ENVELOPE = "envelope"  # nothing is missing in front of it, but some of it may be known
    ENVELOPE_AFTER_GAP = "envelope after a gap"
    SNAPSHOT_OTHER = "snapshot of another source"
    SNAPSHOT_OLD = "old snapshot"  # taken before the gap
    SNAPSHOT_FILLS = "snapshot that fills the gap"  # reaches back to what is known
    SNAPSHOT_BEGINS = "snapshot that begins anew"  # does not, or nothing is known yet


class SpliceAction(enum.StrEnum):
    ASK = "ask"  # the origin for a snapshot
    HOLD = "hold back"
    HOLD_AND_ASK = "hold back and ask"
    PASS_ON = "pass on"  # what is new of it
    FILL = "fill"  # pass on what was missing, then what was held back
    RESTART = "restart"  # pass on the snapshot, then what was held back: it follows on nothing


class Step(NamedTuple):
    action: SpliceAction
    next: SpliceState


SpliceTable: TypeAlias = Mapping[tuple[SpliceState, SpliceInput], Step]

_S = SpliceState
_I = SpliceInput
_A = SpliceAction

SPLICE: SpliceTable = {
    **{(state, _I.UP_HIGHER): Step(_A.ASK, _S.AWAITING) for state in _S},
    (_S.AWAITING, _I.UP_AGAIN): Step(_A.ASK, _S.AWAITING),
    (_S.AWAITING, _I.ENVELOPE): Step(_A.HOLD, _S.AWAITING),
    (_S.AWAITING, _I.ENVELOPE_AFTER_GAP): Step(_A.HOLD, _S.AWAITING),
    # It says nothing of what is missing: the question has not been answered.
    (_S.AWAITING, _I.SNAPSHOT_OTHER): Step(_A.ASK, _S.AWAITING),
    (_S.AWAITING, _I.SNAPSHOT_OLD): Step(_A.ASK, _S.AWAITING),
    (_S.AWAITING, _I.SNAPSHOT_FILLS): Step(_A.FILL, _S.LIVE),
    (_S.AWAITING, _I.SNAPSHOT_BEGINS): Step(_A.RESTART, _S.LIVE),
    (_S.LIVE, _I.ENVELOPE): Step(_A.PASS_ON, _S.LIVE),
    (_S.LIVE, _I.ENVELOPE_AFTER_GAP): Step(_A.HOLD_AND_ASK, _S.AWAITING),
}
