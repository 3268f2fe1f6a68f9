"""Rows of messages as envelopes and snapshots have them."""

from __future__ import annotations

import pytest

from cluster.core.bus.packing import MESSAGE, PackingError, join_payloads, message_table, split_messages
from cluster.core.message import Message

MESSAGES = [Message(9, 40, b"key"), Message(8, 2**40, b""), Message(18, 0, b"data")]


def test_messages_come_back() -> None:
    assert split_messages(message_table(MESSAGES), bytes(join_payloads(MESSAGES))) == MESSAGES
    assert split_messages(b"", b"") == []


def test_a_negative_timestamp_is_refused() -> None:
    with pytest.raises(PackingError, match="negative"):
        split_messages(MESSAGE.pack(9, -1, 3), b"key")


@pytest.mark.parametrize("body", [b"keydat", b"keydata!"])
def test_payloads_that_are_not_as_long_as_they_say_are_refused(body: bytes) -> None:
    with pytest.raises(PackingError, match="bytes of payloads"):
        split_messages(message_table(MESSAGES), body)
