"""Chunks built by hand, byte for byte after the specification and independent of the writer under test."""

from cluster.core.errors import CloseReason, PeerViolation
from cluster.core.limits import Limits
from cluster.core.message import Message
from cluster.core.rtmp.chunk_reader import ChunkReader


def basic(fmt: int, csid: int, form: int = 0) -> bytes:
    """A basic header of ``form`` bytes, or of as many as ``csid`` needs."""
    if form == 0:
        form = 1 if csid < 64 else 2 if csid < 320 else 3
    if form == 1:
        return bytes([fmt << 6 | csid])
    if form == 2:
        return bytes([fmt << 6, csid - 64])
    return bytes([fmt << 6 | 1]) + (csid - 64).to_bytes(2, "little")


def extended_bytes(field: int) -> bytes:
    return field.to_bytes(4, "big") if field >= 0xFFFFFF else b""


def chunk(
    fmt: int,
    csid: int,
    payload: bytes = b"",
    *,
    field: int = 0,
    length: int | None = None,
    type_id: int = 9,
    msid: int = 1,
    form: int = 0,
    extended: bytes | None = None,
) -> bytes:
    """One chunk; ``length`` of the message is that of ``payload`` unless told."""
    header = basic(fmt, csid, form)
    if fmt < 3:
        header += min(field, 0xFFFFFF).to_bytes(3, "big")
    if fmt < 2:
        header += (len(payload) if length is None else length).to_bytes(3, "big") + bytes([type_id])
    if fmt == 0:
        header += msid.to_bytes(4, "little")
    if extended is None:
        extended = extended_bytes(field) if fmt < 3 else b""
    return header + extended + payload


def control(type_id: int, value: int, size: int = 4) -> bytes:
    return chunk(0, 2, value.to_bytes(size, "big"), type_id=type_id, msid=0)


def read_all(data: bytes) -> list[Message]:
    return ChunkReader(Limits()).feed(data)


def read_pieces(
    pieces: list[bytes], limits: Limits | None = None
) -> tuple[list[Message], CloseReason | None]:
    """Feed the pieces through one buffer that is overwritten after each, as a receive buffer is."""
    reader = ChunkReader(limits or Limits())
    messages: list[Message] = []
    try:
        for piece in [*pieces, b""]:
            buffer = bytearray(piece)
            messages += reader.feed(memoryview(buffer))
            buffer[:] = b"\xee" * len(buffer)
    except PeerViolation as violation:
        return messages, violation.reason
    return messages, None


def every_cut(data: bytes) -> list[list[bytes]]:
    """Whole, byte by byte, and in two at each offset."""
    two = [[data[:at], data[at:]] for at in range(1, len(data))]
    return [[data], [data[i : i + 1] for i in range(len(data))], *two]


def assert_reads(data: bytes, expected: list[Message], limits: Limits | None = None) -> None:
    for pieces in every_cut(data):
        assert read_pieces(pieces, limits) == (expected, None), [len(piece) for piece in pieces[:3]]


def assert_refuses(
    data: bytes, reason: CloseReason, before: list[Message] | None = None, limits: Limits | None = None
) -> None:
    """However it is cut, ``data`` gives the messages ``before`` and then this violation."""
    for pieces in every_cut(data):
        assert read_pieces(pieces, limits) == (before or [], reason), [len(piece) for piece in pieces[:3]]
