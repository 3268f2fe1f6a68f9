"""How far a connection to a router has come, as the monitor of its socket tells it, and what is wrong if it
comes no further.

A monitor says less than one would like: that a connection came about, that it shook hands, that the other
end spoke no ZeroMQ or another security, or just that it is over. What that means follows from the order.
"""

from __future__ import annotations

import enum

import zmq

from cluster.core.bus import bounds

#: What the monitor must be asked for. Before its reading end is closed it must be disabled: at the next
#: event libzmq would wait for a reader for ever.
EVENTS = (
    zmq.EVENT_CONNECTED | zmq.EVENT_CLOSED | zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED
    | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    | zmq.EVENT_HANDSHAKE_FAILED_AUTH
)  # fmt: skip

MECHANISM_MISMATCH = 0x1100_0002  # ZMQ_PROTOCOL_ERROR_ZMTP_MECHANISM_MISMATCH
CRYPTOGRAPHIC = 0x1100_0001  # ZMQ_PROTOCOL_ERROR_ZMTP_CRYPTOGRAPHIC

#: A router with another key hangs up at once. A handshake that ends later than this was not refused: it ran
#: out of time, or the router was ended meanwhile.
_REFUSAL_TAKES_S = 0.5 * bounds.ZMQ_HANDSHAKE_TIMEOUT_MS / 1000


class Reach(enum.Enum):
    """How far it has come: a word or two for a table, and a sentence that says what to do."""

    NO_NAME = "unknown name", "the name in --router cannot be looked up"
    NOBODY = "nobody there", (
        "nobody accepts connections there: start the router, or mend --router (a firewall has to pass its "
        "port and the two after it)"
    )
    SILENT = "hangs", (
        "it accepts connections and says nothing: the router hangs, or --router is another program's port"
    )
    SHAKEN = "no answer", (
        "it is connected and does not answer: the router hangs, or is of another version than this node"
    )
    KEY_WANTED = "wants a key", "it has a cluster key and this side has none: give it with --cluster-key"
    KEY_NOT_WANTED = "has no key", (
        "it has no cluster key and this side has one: start the router with --cluster-key too"
    )
    KEY_WRONG = "wrong key", (
        "its cluster key is another: --cluster-key must be the same file on both sides, and --router the "
        "port of the router's --bind"
    )
    NO_ROUTER = "no router", (
        "it hangs up: it wants a --cluster-key, or --router is not the port of the router's --bind"
    )

    def __init__(self, word: str, why: str) -> None:
        self.word = word
        self.why = why

    @property
    def is_refusal(self) -> bool:
        """The other end is there and does not let us in; libzmq may have given it up for good."""
        return self in _REFUSALS


_REFUSALS = frozenset({Reach.KEY_WANTED, Reach.KEY_NOT_WANTED, Reach.KEY_WRONG, Reach.NO_ROUTER})


class Reached:
    """``reach`` after the events so far. ``has_key``: whether our end has a cluster key."""

    def __init__(self, has_key: bool, reach: Reach = Reach.NOBODY) -> None:
        self.reach = reach
        self._has_key = has_key
        self._connected_at = 0.0
        self._has_failed = False

    def event(self, event: int, value: int, now: float) -> Reach:
        """The monitor has told ``event`` with ``value``, at ``now``."""
        if event == zmq.EVENT_CONNECTED:
            self._connected_at, self._has_failed = now, False
            # One that refused us before and is tried again has said nothing else yet.
            if not self.reach.is_refusal:
                self.reach = Reach.SILENT
        elif event == zmq.EVENT_CLOSED:  # an attempt to connect has failed
            self.reach = Reach.NOBODY
        elif event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
            self.reach = Reach.SHAKEN
        elif event == zmq.EVENT_DISCONNECTED:
            if not self._has_failed:  # or else the reason has been told
                self.reach = self._disconnected(now - self._connected_at)
        else:
            self._has_failed = True
            self.reach = self._failed(event, value, now - self._connected_at)
        return self.reach

    def _disconnected(self, after_s: float) -> Reach:
        """The other end has hung up."""
        if self.reach is Reach.SHAKEN or after_s > _REFUSAL_TAKES_S:
            return Reach.NOBODY
        return self.reach if self.reach.is_refusal else Reach.NO_ROUTER

    def _failed(self, event: int, value: int, after_s: float) -> Reach:
        """The handshake has."""
        if value == MECHANISM_MISMATCH:
            return Reach.KEY_NOT_WANTED if self._has_key else Reach.KEY_WANTED
        if event == zmq.EVENT_HANDSHAKE_FAILED_AUTH or value == CRYPTOGRAPHIC:
            return Reach.KEY_WRONG
        if event == zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL:
            return Reach.NO_ROUTER
        if after_s > _REFUSAL_TAKES_S:
            return Reach.SILENT
        if self.reach.is_refusal:
            return self.reach  # it was more precise before
        return Reach.KEY_WRONG if self._has_key else Reach.NO_ROUTER
