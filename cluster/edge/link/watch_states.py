"""Where a watched key is subscribed to: a table of every state and every input.

The table maps (state, input) to the state afterwards. A pair without an entry is ignored: it says what is
so already, or there is nothing to leave.

In each state but OFF and WAITING the key is subscribed at the node's own router as well, if there is one.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import TypeAlias


class WatchState(enum.StrEnum):
    OFF = "off"  # at no router: the stream is published here
    WAITING = "waiting"  # at no router: nobody is known to publish it; routers are asked
    # At no other router than the node's own: that has the stream, or there is no other.
    OWN = "own"
    OWN_OVERLAP = "own and before"  # the same, and for a while still at the router of the cluster before
    HOME = "home"  # at the router of the cluster that the key belongs to
    HOME_OVERLAP = "home and before"  # the same, and for a while still at the one before


class WatchInput(enum.StrEnum):
    START = "starts"  # it is watched, or no longer published here
    STOP = "stops"  # it is published here, or no longer watched
    NAMED = "origin named"  # a router has said who publishes the stream
    OWN_HAS_IT = "own router has it"  # a worker of this node publishes the stream
    NEW_HOME = "new home"  # it is to be played from another router, or from its home again
    BACK = "back"  # that is the router which it leaves
    OVERLAP_OVER = "overlap over"  # also at once, if the router that it leaves is dead
    LEFT_REMOVED = "left router removed"  # the router that it leaves is no longer one of the cluster
    HOME_REMOVED = "home removed"


WatchTable: TypeAlias = Mapping[tuple[WatchState, WatchInput], WatchState]

_S = WatchState
_I = WatchInput

WATCH: WatchTable = {
    (_S.OFF, _I.START): _S.WAITING,
    (_S.WAITING, _I.NAMED): _S.OWN,  # and then home, if there is one and the own router does not have it
    **{(state, _I.STOP): _S.OFF for state in _S if state is not _S.OFF},
    (_S.HOME, _I.OWN_HAS_IT): _S.OWN_OVERLAP,
    # A second overlap ends the first.
    (_S.HOME_OVERLAP, _I.OWN_HAS_IT): _S.OWN_OVERLAP,
    (_S.OWN, _I.NEW_HOME): _S.HOME,
    (_S.OWN_OVERLAP, _I.NEW_HOME): _S.HOME,
    (_S.HOME, _I.NEW_HOME): _S.HOME_OVERLAP,
    (_S.HOME_OVERLAP, _I.NEW_HOME): _S.HOME_OVERLAP,
    # It is still subscribed there.
    (_S.OWN_OVERLAP, _I.BACK): _S.HOME,
    (_S.HOME_OVERLAP, _I.BACK): _S.HOME_OVERLAP,
    (_S.OWN_OVERLAP, _I.OVERLAP_OVER): _S.OWN,
    (_S.HOME_OVERLAP, _I.OVERLAP_OVER): _S.HOME,
    (_S.OWN_OVERLAP, _I.LEFT_REMOVED): _S.OWN,
    (_S.HOME_OVERLAP, _I.LEFT_REMOVED): _S.HOME,
    (_S.WAITING, _I.HOME_REMOVED): _S.WAITING,
    (_S.OWN, _I.HOME_REMOVED): _S.OWN,
    (_S.OWN_OVERLAP, _I.HOME_REMOVED): _S.OWN_OVERLAP,
    (_S.HOME, _I.HOME_REMOVED): _S.OWN,
    (_S.HOME_OVERLAP, _I.HOME_REMOVED): _S.OWN_OVERLAP,
}
