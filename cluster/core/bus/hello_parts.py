"""A Hello in as many parts as it takes: a worker may have very many streams, and routers bound messages."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TypeVar

from cluster.core.bus.bounds import HELLO_PART_BYTES
from cluster.core.bus.control import Hello, HelloPart
from cluster.core.bus.envelope import key_bytes

#: What goes with a key on the wire: its length, an epoch, the array that holds both.
_BYTES_BESIDE = 16

_T = TypeVar("_T")


def parts_of(hello: Hello, part_bytes: int = HELLO_PART_BYTES) -> list[Hello | HelloPart]:
    """``hello``, and what does not fit into it."""
    published = [key for key, _ in hello.origins]
    if sum(map(_size, [*published, *hello.watches])) <= part_bytes:
        return [hello]
    more: list[HelloPart] = [
        *(HelloPart(rows, []) for rows in _cut(published, hello.origins, part_bytes)),
        *(HelloPart([], rows) for rows in _cut(hello.watches, hello.watches, part_bytes)),
    ]
    return [replace(hello, origins=[], watches=[], parts=len(more)), *more]


def _cut(keys: Sequence[str], rows: Sequence[_T], part_bytes: int) -> Iterator[list[_T]]:
    """``rows``, one for each key, in pieces that fit."""
    piece: list[_T] = []
    size = 0
    for key, row in zip(keys, rows, strict=True):
        size += _size(key)
        if size > part_bytes and piece:
            yield piece
            piece, size = [], _size(key)
        piece.append(row)
    if piece:
        yield piece


def _size(key: str) -> int:
    return len(key_bytes(key)) + _BYTES_BESIDE
