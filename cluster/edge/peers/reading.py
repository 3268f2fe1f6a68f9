"""How a reader stands to live, in the words of an operator."""

from __future__ import annotations

from cluster.edge.streams.reader import Reader
from cluster.edge.streams.reader_states import ReaderState

_WORDS = {
    ReaderState.IN_STEP: "playing", ReaderState.PRIVATE: "playing", ReaderState.BEHIND: "behind",
    ReaderState.AWAITING: "waiting", ReaderState.PAUSED: "paused", ReaderState.ABSENT: "closing",
}  # fmt: skip


def reading_state(reader: Reader) -> str:
    """What it does: it plays, is behind, waits for a publisher, or has paused."""
    return _WORDS[reader.state]


def delay_ms(reader: Reader) -> int:
    """The media time in its stream's log that it has not been sent yet."""
    if reader.state is not ReaderState.BEHIND:
        return 0
    return max(0, reader.stream.log.lag_ms(reader.seq))
