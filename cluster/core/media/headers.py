"""What of a stream a joiner needs before its first message: metadata, sequence headers, configurations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, Final, Generic, NamedTuple, Protocol, TypeVar

from cluster.core.limits import MIB
from cluster.core.media.classify import MediaFlags, enhanced_header, flags_of, track_ids
from cluster.core.message import Buffer

#: Headers kept per stream: 16 tracks with up to three kinds each. One more replaces the oldest.
MAX_HEADERS = 48

#: A larger header is passed on but not kept; real ones, even HDR metadata, take some hundred bytes.
MAX_HEADER_BYTES = 64 * 1024
#: onMetaData, of which there is one, may have the keyframe index of a recording in it: nine bytes or more
#: for each keyframe and number.
MAX_METADATA_BYTES = 2 * MIB

_REPLAY_ORDER = {
    ("data", "metadata"): 0,
    ("video", "metadata"): 1,
    ("video", "sequence_header"): 2,
    ("audio", "sequence_header"): 3,
    ("audio", "multichannel_config"): 4,
}

#: Codecs for whose sequence header no body is defined: an empty one says all there is to say.
BODILESS_CODECS: Final = frozenset((b".mp3", b"ac-3", b"ec-3"))

_VIDEO = int(MediaFlags.VIDEO)
_DATA = int(MediaFlags.DATA)
_SEQUENCE_HEADER = int(MediaFlags.SEQUENCE_HEADER)
_CONFIG = int(MediaFlags.CONFIG)
_CACHED = _SEQUENCE_HEADER | int(MediaFlags.METADATA) | _CONFIG


_NONE: Final[Mapping[Any, Any]] = MappingProxyType({})


class HeaderKey(NamedTuple):
    """What a cached header is the latest of.

    ``tracks`` is sorted: one track, or the set of a message that carries several; empty for data.
    """

    media: str
    tracks: tuple[int, ...]
    kind: str


def header_key(type_id: int, payload: Buffer) -> HeaderKey | None:
    """What a joiner needs this message as; None if a joiner does not need it.

    A new message with an equal key replaces the old one: same media, same track or set of tracks, same
    kind (Enhanced RTMP v2: metadata and headers hold until replaced).
    """
    flags = flags_of(type_id, payload)
    if not flags & _CACHED:
        return None
    kind = "metadata"
    if flags & _SEQUENCE_HEADER:
        kind = "sequence_header"
    elif flags & _CONFIG:
        kind = "multichannel_config"
    if flags & _DATA:
        return HeaderKey("data", (), kind)
    return HeaderKey("video" if flags & _VIDEO else "audio", track_ids(type_id, payload), kind)


def header_order(key: HeaderKey) -> int:
    """Where a cached header comes in the replay to a joiner, smallest first.

    onMetaData, video metadata, video headers, audio headers, multichannel configurations. Equal ones
    are replayed in the order of arrival, so that of two that share a track the newer one counts.
    """
    return _REPLAY_ORDER[key.media, key.kind]


def is_empty_header(type_id: int, payload: Buffer) -> bool:
    """Whether this is a sequence header that lacks the body its codec needs, for any of its tracks.

    It may stand as long as there is no better one, and must not replace one: FFmpeg's first AV1 header
    is empty and its second whole. An empty Opus header is legal and yet knows less than a full one.
    """
    flags = flags_of(type_id, payload)
    if not flags & _SEQUENCE_HEADER:
        return False
    header = enhanced_header(type_id, payload)
    if header is None:
        return len(payload) <= (5 if flags & _VIDEO else 2)
    bodiless = [track.four_cc for track in header.tracks if track.start == track.end]
    return any(four_cc not in BODILESS_CODECS for four_cc in bodiless)


class Header(Protocol):
    """What the cache reads of a message, in whatever form its user keeps it."""

    @property
    def type_id(self) -> int: ...

    @property
    def payload(self) -> Buffer: ...


H = TypeVar("H", bound=Header)


class Remembered(NamedTuple, Generic[H]):
    """What a header is beside the latest one of its key."""

    key: HeaderKey
    #: The latest until now; None if this is the first.
    before: H | None
    #: False: this says less than ``before``, which stays the latest.
    is_latest: bool
    #: False: ``before`` has said all that this one says.
    is_new: bool


class Headers(Generic[H]):
    """The latest header of each kind and track of one stream, within bounds of number and size."""

    __slots__ = ("_latest",)

    def __init__(self) -> None:
        #: The oldest first: of two with equal rank, the newer one is replayed last.
        self._latest: dict[HeaderKey, H] = {}

    def remember(self, header: H) -> Remembered[H] | None:
        """Make ``header`` the latest of its key, unless it says less than the one that is known.

        None if no joiner needs this message, or if it is too large to be kept.
        """
        key = header_key(header.type_id, header.payload)
        if key is None:
            return None
        bound_bytes = MAX_METADATA_BYTES if key.media == "data" else MAX_HEADER_BYTES
        if len(header.payload) > bound_bytes:
            return None
        latest = self._latest
        before = latest.get(key)
        if before is not None:
            # FFmpeg's first AV1 header is empty, the real one follows; never the other way round.
            if is_empty_header(header.type_id, header.payload):
                return Remembered(key, before, is_latest=False, is_new=False)
            del latest[key]
        elif len(latest) >= MAX_HEADERS:
            del latest[next(iter(latest))]
        latest[key] = header
        is_new = before is None or before.payload != header.payload
        return Remembered(key, before, is_latest=True, is_new=is_new)

    def __iter__(self) -> Iterator[H]:
        """All of them, in no order: what is asked often need not sort them."""
        return iter(self._latest.values())

    def in_order(self, instead: Mapping[HeaderKey, H] = _NONE) -> list[H]:
        """All of them in replay order, those of ``instead`` in the place of the latest of their key."""
        headers = {**self._latest, **instead}
        return [headers[key] for key in sorted(headers, key=header_order)]

    def forget_data(self) -> None:
        """Joiners are not told the old onMetaData any more."""
        for key in [key for key in self._latest if key.media == "data"]:
            del self._latest[key]

    def clear(self) -> None:
        self._latest.clear()
