"""Which envelopes a worker takes, and what is counted of them, whichever way they go."""

from __future__ import annotations

from unittest.mock import Mock

import pytest

from cluster.core.bus.envelope import Envelope, EnvelopeError, encode
from cluster.core.bus.stamps import Stamp, stamped
from cluster.core.message import Message
from cluster.edge.link.epoch_guard import EpochGuard
from cluster.edge.link.input import LinkInput
from cluster.edge.streams.counters import Counters

US = "node.1a/0/1"
MESSAGES = [Message(9, 400, b"picture"), Message(8, 401, b"sound")]
ENVELOPE = Envelope("live/a", 5, 10, "node.2b/0/1", MESSAGES)
FRAME = encode(ENVELOPE)


class Taken:
    """An input, the handler behind it, and what was counted."""

    def __init__(self) -> None:
        self.counters = Counters()
        self.handler = Mock()
        self.handler.next_received.return_value = 0
        epochs = EpochGuard(self.counters)
        epochs.tick()
        self.input = LinkInput(
            self.handler, self.counters, US, {"live/a"}, epochs, lambda: 50.0  # type: ignore[arg-type]
        )  # fmt: skip

    @property
    def counted(self) -> tuple[int, int, int]:
        counters = self.counters
        return (
            counters.bus_envelopes_received, counters.bus_messages_received, counters.bus_bytes_received
        )  # fmt: skip


@pytest.fixture
def taken() -> Taken:
    return Taken()


def test_the_next_envelope_is_not_decoded(taken: Taken) -> None:
    taken.handler.next_received.return_value = 2
    taken.input.received(FRAME)
    taken.handler.next_received.assert_called_once_with(FRAME)
    taken.handler.envelope_received.assert_not_called()
    assert taken.counted == (1, 2, len(FRAME))


def test_any_other_of_a_watched_stream_is_decoded_and_counted_alike(taken: Taken) -> None:
    taken.input.received(FRAME)
    taken.handler.envelope_received.assert_called_once_with(ENVELOPE)
    assert taken.counted == (1, 2, len(FRAME))


@pytest.mark.parametrize(
    "envelope",
    [ENVELOPE._replace(sender_id=US), ENVELOPE._replace(key="live/b"), ENVELOPE._replace(epoch=2**62)],
    ids=["of this worker", "not watched", "of an epoch that nobody can have been granted"],
)
def test_what_is_not_wanted_is_not_counted(taken: Taken, envelope: Envelope) -> None:
    taken.input.received(encode(envelope))
    taken.handler.envelope_received.assert_not_called()
    assert taken.counted == (0, 0, 0)
    assert taken.counters.bus_epochs_refused == (envelope.epoch == 2**62)


def test_what_is_no_envelope_is_counted_as_malformed_either_way(taken: Taken) -> None:
    taken.input.received(FRAME[:-1])
    assert taken.counters.bus_malformed == 1
    taken.handler.next_received.side_effect = EnvelopeError("short")
    taken.input.received(FRAME[:-1])
    assert taken.counters.bus_malformed == 2
    taken.handler.envelope_received.assert_not_called()
    assert taken.counted == (0, 0, 0)


# ---- stamps ----------------------------------------------------------------------------------


def test_a_stamp_is_told_behind_its_messages_on_our_clock(taken: Taken) -> None:
    frame = stamped(FRAME, Stamp(1_049_750_000, 20_000))
    taken.input.stamped(frame, 1_000_000_000)
    assert [name for name, *_ in taken.handler.method_calls] == [
        "next_received", "envelope_received", "stamp_received",
    ]  # fmt: skip
    taken.handler.stamp_received.assert_called_once_with("live/a", 0.02, pytest.approx(0.25))
    assert taken.counted == (1, 2, len(frame))


def test_a_stamp_of_a_clock_that_is_not_known_is_left_out(taken: Taken) -> None:
    taken.input.stamped(stamped(FRAME, Stamp(1, 2)), None)
    taken.handler.envelope_received.assert_called_once_with(ENVELOPE)
    taken.handler.stamp_received.assert_not_called()


def test_a_stamp_of_what_is_not_wanted_is_left_out(taken: Taken) -> None:
    taken.input.stamped(stamped(encode(ENVELOPE._replace(key="live/b")), Stamp(1, 2)), 0)
    taken.handler.next_received.return_value = 2
    taken.input.stamped(stamped(encode(ENVELOPE._replace(key="live/b")), Stamp(1, 2)), 0)
    taken.handler.stamp_received.assert_not_called()


def test_a_stamp_that_is_none(taken: Taken) -> None:
    taken.input.stamped(stamped(encode(Envelope("", 1, 1, "", [])), Stamp(1, 2))[:-1], 0)
    assert taken.counters.bus_malformed == 1
    assert taken.counted == (0, 0, 0)
