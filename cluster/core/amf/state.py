"""What reading or writing one AMF message remembers: position, limits, reference tables.

AMF0 and AMF3 share it, because an AMF0 message may hold AMF3 values (marker 0x11) and one bound on
depth and count must cover both.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from cluster.core.amf.values import AmfValue
from cluster.core.errors import AmfError, MisuseError
from cluster.core.limits import Limits
from cluster.core.message import Buffer

DEFAULT_LIMITS = Limits()

#: A configured depth above this counts as this: each level costs three Python frames, and the
#: interpreter's own limit (1000 frames) must never be what stops a peer.
DEEPEST = 128

#: RTMP messages and FLV tags have 24-bit lengths: a longer text or byte array fits neither.
MAX_TEXT_BYTES = 0xFFFFFF

#: Class name, sealed member names, dynamic.
Traits: TypeAlias = tuple[str, tuple[str, ...], bool]


class ReadState:
    """A cursor over one message, what it may still cost, and what its references can name."""

    __slots__ = (
        "data", "depth_left", "end", "objects", "pos", "references", "strings", "traits", "values_left",
    )  # fmt: skip

    def __init__(self, data: Buffer, offset: int, limits: Limits) -> None:
        self.data = bytes(data)
        self.pos = offset
        self.end = len(self.data)
        self.depth_left = min(limits.max_amf_depth, DEEPEST)
        self.values_left = limits.max_amf_values
        #: AMF0: objects and arrays in the order met.
        self.references: list[AmfValue] = []
        #: AMF3: its three tables. Values behind several 0x11 markers of one message share them, as the
        #: tables are reset "for each message" (AMF3, section 4.1).
        self.strings: list[str] = []
        self.objects: list[AmfValue] = []
        self.traits: list[Traits] = []

    def next_marker(self) -> int:
        """Count one more value and return its marker."""
        pos = self.pos
        if pos >= self.end:
            raise self.truncated()
        if not self.values_left:
            raise AmfError("too many values in one message")
        self.values_left -= 1
        self.pos = pos + 1
        return self.data[pos]

    def take(self, length: int) -> bytes:
        pos = self.pos
        stop = pos + length
        if stop > self.end:
            raise self.truncated()
        self.pos = stop
        return self.data[pos:stop]

    def take_byte(self) -> int:
        pos = self.pos
        if pos >= self.end:
            raise self.truncated()
        self.pos = pos + 1
        return self.data[pos]

    def take_text(self, length: int) -> str:
        return self.take(length).decode("utf-8", "surrogateescape")

    def enter(self) -> None:
        """Go one level deeper; called before recursion. ``leave`` comes back."""
        if self.depth_left <= 0:
            raise AmfError("nested too deeply")
        self.depth_left -= 1

    def leave(self) -> None:
        self.depth_left += 1

    def check_count(self, count: int, item_bytes: int) -> int:
        """Refuse a declared count of items that the bytes left, or the values left, cannot hold."""
        if count * item_bytes > self.end - self.pos:
            raise AmfError(f"{count} items declared with {self.end - self.pos} bytes left")
        if count > self.values_left:
            raise AmfError("too many values in one message")
        return count

    def truncated(self) -> AmfError:
        return AmfError(f"the data ends inside a value, after {self.end} bytes")


class WriteState:
    """The bytes written so far, what may still be written, and where a reference could point.

    What our own reader would refuse for its depth or size is not written either: ``MisuseError``.
    """

    __slots__ = (
        "max_depth", "objects", "on_path", "out", "share", "strings", "traits", "values_left",
    )  # fmt: skip

    def __init__(self, limits: Limits, *, share: bool) -> None:
        self.out = bytearray()
        self.values_left = limits.max_amf_values
        self.max_depth = min(limits.max_amf_depth, DEEPEST)
        #: Identities of the containers that are open: one that opens again holds itself.
        self.on_path: set[int] = set()
        #: Whether AMF3 references may be written.
        self.share = share
        self.strings: dict[str, int] = {}
        #: By identity: all values are alive while they are written.
        self.objects: dict[int, int] = {}
        self.traits: dict[Traits, int] = {}

    def count(self, values: int = 1) -> None:
        if values > self.values_left:
            raise MisuseError("too many values for one AMF message")
        self.values_left -= values

    def enter(self, container: AmfValue) -> None:
        """Open a container; called before recursion. ``leave`` closes it."""
        self.refuse_cycle(container)
        if len(self.on_path) >= self.max_depth:
            raise MisuseError("AMF value nested too deeply")
        self.on_path.add(id(container))

    def leave(self, container: AmfValue) -> None:
        self.on_path.remove(id(container))

    def refuse_cycle(self, container: AmfValue) -> None:
        if id(container) in self.on_path:
            raise MisuseError("AMF value holds itself")


Writer: TypeAlias = Callable[[WriteState, Any], None]


def find_writer(writers: dict[type, Writer], value: object) -> Writer:
    """The writer of the nearest base class, for a value whose own type has none (an ``IntEnum``, say)."""
    for base in type(value).__mro__:
        if base in writers:
            return writers[base]
    raise MisuseError(f"AMF cannot say {type(value).__name__}")


def text_bytes(text: object) -> bytes:
    """UTF-8, with the bytes that were not UTF-8 when they were read put back."""
    if not isinstance(text, str):
        raise MisuseError(f"AMF text or key must be str, not {type(text).__name__}")
    try:
        raw = text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError as error:
        raise MisuseError(f"text with a lone surrogate at {error.start} has no UTF-8 form") from None
    if len(raw) > MAX_TEXT_BYTES:
        raise MisuseError(f"text of {len(raw)} bytes fits no message")
    return raw
