"""Headers of codecs, written bit by bit."""

from __future__ import annotations


class BitWriter:
    """Bits, written one field after the other."""

    def __init__(self) -> None:
        self.bits = ""

    def u(self, count: int, value: int = 0) -> BitWriter:
        self.bits += f"{value:0{count}b}" if count else ""
        return self

    def ue(self, *values: int) -> BitWriter:
        for value in values:
            digits = f"{value + 1:b}"
            self.bits += "0" * (len(digits) - 1) + digits
        return self

    def se(self, *values: int) -> BitWriter:
        return self.ue(*(2 * value - 1 if value > 0 else -2 * value for value in values))

    def bytes(self) -> bytes:
        padded = self.bits + "1"
        padded += "0" * (-len(padded) % 8)
        return int(padded, 2).to_bytes(len(padded) // 8, "big")
