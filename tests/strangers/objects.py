"""Shared objects: one change that two hundred peers are sent."""

from __future__ import annotations

import itertools
import time

from cluster.core.rtmp import shared_object
from cluster.core.rtmp.shared_object import SharedEvent, SharedEventType, SharedObjectMessage

from .attack import Attack
from .wire import Pieces, Stranger, Tally, Target, connect, flood, gather, message

_CHANGE_BYTES = 30_000


def shared(name: str, *events: SharedEvent) -> bytes:
    made = shared_object.encode(SharedObjectMessage(name, events=events))
    return message(made.type_id, bytes(made.payload), chunk_stream=3)


def user(target: Target, name: str, number: int) -> Stranger:
    """A peer that uses this object."""
    peer = Stranger(target, number).shake_hands().say(connect("objects"))
    return peer.until("NetConnection.Connect.Success").say(shared(name, SharedEvent(SharedEventType.USE)))


def changes(target: Target, peers: int = 200) -> Tally:
    """12: 200 users of one object; one of them changes 30 kB of it without end."""
    until, tally = time.monotonic() + target.seconds, Tally()
    crowd = gather(tally, target.amount(peers, least=100), lambda n: user(target, "one", n))
    # Another value each time, so that it is a change.
    values = [str(each) * _CHANGE_BYTES for each in range(2)]
    both = b"".join(
        shared("one", SharedEvent(SharedEventType.REQUEST_CHANGE, "property", (value,))) for value in values
    )

    def pieces(peer: Stranger) -> Pieces:
        return itertools.repeat(both) if peer is crowd[0] else iter(())

    flood(tally, crowd, pieces, until)
    tally.notes["out_per_in"] = tally.received / max(tally.sent, 1)
    return tally


ATTACKS = [Attack("shared-object", "12", changes, crowd=True, sources=50)]
