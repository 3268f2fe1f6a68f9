"""What the headers of a stream say of it: read once, for all who tell of it."""

from __future__ import annotations

from collections.abc import Sequence

from cluster.core.media.describe import describe
from cluster.core.media.log_entry import LogEntry
from cluster.core.message import Buffer


class Description:
    """``headers``: all that the stream has, in replay order. ``codecs``: the FourCCs that they name, with a
    blank between."""

    __slots__ = ("__weakref__", "codecs", "headers")

    def __init__(self, headers: Sequence[LogEntry]) -> None:
        self.headers = headers
        found = (describe(entry.type_id, entry.payload).codec for entry in headers)
        self.codecs = " ".join(dict.fromkeys(codec for codec in found if codec))

    def is_of(self, headers: Sequence[LogEntry]) -> bool:
        """Whether ``headers`` say the same. Some encoders send theirs with each keyframe."""
        return headers is self.headers or _said(headers) == _said(self.headers)


def _said(headers: Sequence[LogEntry]) -> list[tuple[int, Buffer]]:
    return [(entry.type_id, entry.payload) for entry in headers]
