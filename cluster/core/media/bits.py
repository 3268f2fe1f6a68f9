"""Bits of a codec's header, read one field after the other."""

from __future__ import annotations

from cluster.core.errors import ClusterError
from cluster.core.message import Buffer

#: All that is read of a header stands in its first bytes; what is behind costs time only.
_READ_BYTES = 1024
#: An Exp-Golomb code with more leading zeros has no value that a header can mean.
_LONGEST_PREFIX = 31


class EndOfBitsError(ClusterError):
    """A field goes on where the bytes end, or is none."""


class Bits:
    """The bits of ``data``, the most significant first. EndOfBitsError where they end."""

    __slots__ = ("_left", "_value")

    def __init__(self, data: Buffer) -> None:
        head = data[:_READ_BYTES]
        self._value = int.from_bytes(head, "big")
        self._left = 8 * len(head)

    def read(self, count: int) -> int:
        """An unsigned number of ``count`` bits."""
        left = self._left - count
        if left < 0:
            raise EndOfBitsError("a header ends too early")
        self._left = left
        return self._value >> left & (1 << count) - 1

    def skip(self, count: int) -> None:
        self.read(count)

    def read_ue(self) -> int:
        """An unsigned Exp-Golomb code (ITU-T H.264, section 9.1)."""
        zeros = 0
        while not self.read(1):
            zeros += 1
            if zeros > _LONGEST_PREFIX:
                raise EndOfBitsError("no Exp-Golomb code")
        return (1 << zeros) - 1 + self.read(zeros)

    def read_se(self) -> int:
        """A signed Exp-Golomb code (section 9.1.1)."""
        code = self.read_ue()
        return (code + 1) // 2 if code & 1 else -(code // 2)
