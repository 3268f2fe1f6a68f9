"""What AMF can say and Python has no type for; the rest maps to Python's own types.

==================  =====================================================================
AMF                 Python
==================  =====================================================================
number, double      ``float`` (an ``int`` is accepted on write)
AMF3 integer        ``int``
boolean             ``bool``
string              ``str``; bytes that are not UTF-8 survive as surrogate escapes
null                ``None``
undefined           ``UNDEFINED``
object              ``dict``; with a class name ``TypedObject``
array               ``list`` (AMF0 strict array, AMF3 dense array)
associative array   ``EcmaArray``; in AMF3 with a dense part as well ``Amf3Array``
date                ``AmfDate``
xml                 ``XmlDocument``; the AMF3 xml of E4X ``Xml``
byte array          ``bytes`` (AMF3)
vector, dictionary  ``Vector``, ``Dictionary`` (AMF3)
==================  =====================================================================
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias


class Undefined(enum.Enum):
    """The type of ``UNDEFINED``: an enum, so that there is one and ``is`` narrows it."""

    UNDEFINED = "undefined"

    def __bool__(self) -> bool:
        return False

    def __repr__(self) -> str:
        return "UNDEFINED"


UNDEFINED = Undefined.UNDEFINED


class EcmaArray(dict[str, Any]):
    """An associative array: onMetaData must stay one when it is written again."""

    def __repr__(self) -> str:
        return f"EcmaArray({super().__repr__()})"


class TypedObject(dict[str, Any]):
    """An object of a named class.

    ``sealed`` names the members that the class declares (AMF3 traits); the others are dynamic. It says
    how the object is written in AMF3, AMF0 has no such thing, and equality leaves it out.
    """

    def __init__(
        self,
        class_name: str,
        members: Mapping[str, Any] | Iterable[tuple[str, Any]] = (),
        *,
        sealed: Iterable[str] = (),
    ) -> None:
        super().__init__(members)
        self.class_name = class_name
        self.sealed = tuple(sealed)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, TypedObject):
            return False
        return self.class_name == other.class_name and super().__eq__(other)

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __repr__(self) -> str:
        return f"TypedObject({self.class_name!r}, {super().__repr__()})"


class AmfDate(NamedTuple):
    """Milliseconds since 1970-01-01 UTC. The zone says nothing about them and AMF3 has none."""

    epoch_ms: float
    zone_minutes: int = 0


class XmlDocument(str):
    """The text of an XML document (AMF0 0x0F, AMF3 0x07)."""

    __slots__ = ()


class Xml(str):
    """The text of an E4X XML object (AMF3 0x0B)."""

    __slots__ = ()


ByteArray: TypeAlias = bytes


@dataclass(slots=True)
class Amf3Array:
    """An AMF3 array with both parts. With one part only it is a ``list`` or an ``EcmaArray``."""

    dense: list[Any] = field(default_factory=list)
    assoc: dict[str, Any] = field(default_factory=dict)


class VectorKind(enum.IntEnum):
    """What a vector holds; the value is its AMF3 marker."""

    INT = 0x0D
    UINT = 0x0E
    DOUBLE = 0x0F
    OBJECT = 0x10


@dataclass(slots=True)
class Vector:
    """An AMF3 vector; ``class_name`` is that of the items of an OBJECT vector ("*": of any type)."""

    kind: VectorKind
    items: list[Any] = field(default_factory=list)
    fixed: bool = False
    class_name: str = ""


@dataclass(slots=True)
class Dictionary:
    """An AMF3 dictionary: pairs, because its keys may be objects, which Python cannot hash."""

    pairs: list[tuple[Any, Any]] = field(default_factory=list)
    weak_keys: bool = False


#: Containers hold ``Any`` rather than ``AmfValue``: a ``dict[str, str]`` is a good AMF object too.
AmfValue: TypeAlias = (
    bool
    | int
    | float
    | str
    | bytes
    | Undefined
    | AmfDate
    | list[Any]
    | dict[str, Any]
    | Amf3Array
    | Vector
    | Dictionary
    | None
)
