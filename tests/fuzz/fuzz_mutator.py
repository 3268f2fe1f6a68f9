"""Inputs out of good ones: bytes changed, moved, cut and joined; dialogues with messages out of place."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from cluster.core.errors import MisuseError
from cluster.core.message import Message
from cluster.core.rtmp.chunk_writer import ChunkWriter

#: Longer inputs find nothing that these do not, and cost more.
MAX_INPUT_BYTES = 4096
_MAX_CHANGES = 6
_BYTES = (0, 1, 2, 3, 7, 8, 9, 0x0A, 0x0C, 0x10, 0x11, 0x7F, 0x80, 0xC0, 0xFE, 0xFF)
_WIDTHS = (1, 2, 3, 4)
_VALUES = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFF, 0xFFFFFF, 0x7FFFFFFF, 0xFFFFFFFF)
_CHUNK_STREAMS = (2, 3, 4, 5, 6, 8, 63, 64, 319, 320, 65599)
_TYPES = (*range(1, 7), 8, 9, 15, 16, 17, 18, 19, 20, 22, 0, 7, 255)


class Mutator:
    """Makes inputs; the same seed makes the same ones."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self._changes: tuple[Callable[[bytearray, Sequence[bytes]], None], ...] = (
            self._flip_bit, self._set_byte, self._set_integer, self._insert, self._delete, self._repeat,
            self._truncate, self._splice, self._swap,
        )  # fmt: skip

    def bytes_from(self, seeds: Sequence[bytes]) -> bytes:
        """One of ``seeds`` with some changes; now and then noise."""
        pick = self.random
        if pick.random() < 0.05:
            return pick.randbytes(pick.randrange(64))
        data = bytearray(pick.choice(seeds))
        for _ in range(pick.randrange(_MAX_CHANGES)):
            pick.choice(self._changes)(data, seeds)
        return bytes(data[:MAX_INPUT_BYTES])

    def dialogue_from(self, dialogues: Sequence[Sequence[Message]]) -> list[Message]:
        """One of ``dialogues`` with messages dropped, doubled, moved, changed, or from another one."""
        pick = self.random
        messages = list(pick.choice(dialogues))
        for _ in range(pick.randrange(_MAX_CHANGES)):
            at = pick.randrange(len(messages) + 1)
            what = pick.randrange(6)
            if what == 0:
                messages[at:at] = [pick.choice(pick.choice(dialogues))]
            elif at == len(messages):
                continue
            elif what == 1:
                del messages[at]
            elif what == 2:
                messages.insert(pick.randrange(len(messages)), messages[at])
            else:
                messages[at] = self._changed_message(messages[at], what)
        return messages

    def chunks_of(self, messages: Sequence[Message]) -> bytes:
        """The messages as a writer of ours would send them, on a few chunk streams."""
        writer = ChunkWriter()
        chunk_streams = self.random.choices(_CHUNK_STREAMS, k=4)
        data = b""
        for message in messages:
            try:
                data += writer.encode(message, self.random.choice(chunk_streams))
            except MisuseError:  # a Set Chunk Size that is none
                continue
        return data

    def pieces(self, data: bytes) -> list[bytes]:
        """``data`` in up to four pieces."""
        cuts = sorted(self.random.randrange(len(data) + 1) for _ in range(self.random.randrange(4)))
        return [data[start:end] for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]

    def _changed_message(self, message: Message, what: int) -> Message:
        pick = self.random
        if what == 3:
            return message._replace(stream_id=pick.choice((0, 1, 2, 3, 0xFFFFFFFF)))
        if what == 4:
            return message._replace(type_id=pick.choice(_TYPES), timestamp=pick.choice(_VALUES))
        return message._replace(payload=self.bytes_from([bytes(message.payload)]))

    def _flip_bit(self, data: bytearray, seeds: Sequence[bytes]) -> None:
        if data:
            data[self.random.randrange(len(data))] ^= 1 << self.random.randrange(8)

    def _set_byte(self, data: bytearray, seeds: Sequence[bytes]) -> None:
        if data:
            data[self.random.randrange(len(data))] = self.random.choice(_BYTES)

    def _set_integer(self, data: bytearray, seeds: Sequence[bytes]) -> None:
        width = self.random.choice(_WIDTHS)
        at = self.random.randrange(len(data) + 1)
        value = self.random.choice(_VALUES) & ((1 << 8 * width) - 1)
        data[at : at + width] = value.to_bytes(width, self.random.choice(("big", "little")))

    def _insert(self, data: bytearray, seeds: Sequence[bytes]) -> None:
        at = self.random.randrange(len(data) + 1)
        data[at:at] = self.random.randbytes(self.random.randrange(1, 5))

    def _delete(self, data: bytearray, seeds: Sequence[bytes]) -> None:
        at = self.random.randrange(len(data) + 1)
        del data[at : at + self.random.randrange(1, 9)]

    def _repeat(self, data: bytearray, seeds: Sequence[bytes]) -> None:
        at = self.random.randrange(len(data) + 1)
        part = data[at : at + self.random.randrange(1, 33)]
        data[at:at] = part * self.random.choice((1, 2, 3, 40))
        del data[MAX_INPUT_BYTES:]

    def _truncate(self, data: bytearray, seeds: Sequence[bytes]) -> None:
        del data[self.random.randrange(len(data) + 1) :]

    def _splice(self, data: bytearray, seeds: Sequence[bytes]) -> None:
        other = self.random.choice(seeds)
        data[self.random.randrange(len(data) + 1) :] = other[self.random.randrange(len(other) + 1) :]

    def _swap(self, data: bytearray, seeds: Sequence[bytes]) -> None:
        half = len(data) // 2
        data[:] = data[half:] + data[:half]
