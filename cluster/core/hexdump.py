"""Bytes for a person to read: offset, sixteen bytes in hex with a gap after eight, the same as text."""

from __future__ import annotations

from collections.abc import Iterator

from cluster.core.message import Buffer

_BYTES_PER_LINE = 16
_DEFAULT_LIMIT_BYTES = 256


def hexdump(data: Buffer, *, limit_bytes: int = _DEFAULT_LIMIT_BYTES, indent: int = 0) -> str:
    """The first ``limit_bytes`` of ``data``, and how many more there are."""
    return "\n".join(" " * indent + line for line in _lines(data, limit_bytes))


def _lines(data: Buffer, limit_bytes: int) -> Iterator[str]:
    shown = bytes(data[:limit_bytes])
    for start in range(0, len(shown), _BYTES_PER_LINE):
        line = shown[start : start + _BYTES_PER_LINE]
        halves = f"{line[:8].hex(' '):<23}  {line[8:].hex(' '):<23}"
        text = "".join(chr(byte) if 0x20 <= byte < 0x7F else "." for byte in line)
        yield f"{start:08x}  {halves}  {text}"
    if len(data) > len(shown):
        yield f"... {len(data) - len(shown)} more bytes"
