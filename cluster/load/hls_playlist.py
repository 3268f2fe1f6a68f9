"""Playlists of low-latency HLS, as far as a player needs them (draft-pantos-hls-rfc8216bis, 4.4)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import NamedTuple

from cluster.load.fault import ServerFault

#: Of a playlist; the largest seen have a few hundred lines.
MAX_PLAYLIST_BYTES = 1024 * 1024
#: What a part lasts is far below a second.
_MAX_PART_S = 60.0

_ATTRIBUTE = re.compile(r'([A-Z0-9-]+)=("[^"]*"|[^",]*)')


class Place(NamedTuple):
    """A part's media sequence number, and its number within that segment."""

    segment: int
    part: int


@dataclass(frozen=True, slots=True)
class Part:
    place: Place
    uri: str
    #: A picture can start at it.
    independent: bool
    #: Where the initialization section is that it needs.
    init: str


@dataclass(slots=True)
class MediaPlaylist:
    """``open_segment``: the number of the segment that is not complete."""

    parts: list[Part] = field(default_factory=list)
    open_segment: int = 0
    part_target_s: float = 0.0
    blocks: bool = False
    ended: bool = False

    @property
    def newest_start(self) -> Part | None:
        """Where a player joins: the newest part that a picture can start at, or the newest of all."""
        starts = [part for part in self.parts if part.independent] or self.parts
        return starts[-1] if starts else None

    def after(self, place: Place) -> Part | None:
        """The first part behind that place."""
        return next((part for part in self.parts if part.place > place), None)

    def expected_after(self, place: Place) -> Place:
        """The place of a part that is not there yet, behind the newest, which is at ``place``."""
        if place.segment < self.open_segment:
            return Place(self.open_segment, 0)
        return Place(place.segment, place.part + 1)


def is_multivariant(text: str) -> bool:
    return "#EXT-X-STREAM-INF" in text


def first_variant(text: str) -> str:
    """Where the first media playlist is; ServerFault if none is named."""
    lines = iter(text.splitlines())
    for line in lines:
        if line.startswith("#EXT-X-STREAM-INF"):
            uri = next((each for each in lines if each and not each.startswith("#")), "")
            if uri:
                return uri
    raise ServerFault("a playlist that names no stream")


def read_playlist(text: str) -> MediaPlaylist:
    """ServerFault if it is no media playlist of low-latency HLS."""
    if not text.startswith("#EXTM3U"):
        raise ServerFault("no playlist: it does not begin with #EXTM3U")
    try:
        playlist = _read(text)
    except ValueError:
        raise ServerFault("a playlist with a number that is none") from None
    if not playlist.part_target_s and not playlist.ended:
        raise ServerFault("a playlist without parts: only low-latency HLS is played")
    return playlist


def _read(text: str) -> MediaPlaylist:
    playlist = MediaPlaylist()
    number = part = 0
    init = ""
    for line in text.splitlines():
        name, _, value = line.partition(":")
        if name == "#EXT-X-PART":
            found = _attributes(value)
            if "BYTERANGE" in found:
                raise ServerFault("a part that is a piece of a file, which is not read")
            if found.get("GAP") != "YES":
                independent = found.get("INDEPENDENT") == "YES"
                playlist.parts.append(Part(Place(number, part), found.get("URI", ""), independent, init))
            part += 1
        elif line and not line.startswith("#"):
            number, part = number + 1, 0
        elif name == "#EXT-X-MAP":
            init = _attributes(value).get("URI", "")
        elif name == "#EXT-X-MEDIA-SEQUENCE":
            number = int(value)
        elif name == "#EXT-X-PART-INF":
            playlist.part_target_s = float(_attributes(value).get("PART-TARGET", 0))
            if not 0 <= playlist.part_target_s <= _MAX_PART_S:
                raise ValueError
        elif name == "#EXT-X-SERVER-CONTROL":
            playlist.blocks = _attributes(value).get("CAN-BLOCK-RELOAD") == "YES"
        elif name == "#EXT-X-ENDLIST":
            playlist.ended = True
    playlist.open_segment = number
    return playlist


def _attributes(text: str) -> dict[str, str]:
    return {name: value.strip('"') for name, value in _ATTRIBUTE.findall(text)}
