"""The rules of HLS playlists, over all that one stream's viewers have been given.

Sections are those of RFC 8216; "bis" means draft-pantos-hls-rfc8216bis-16, which has low latency.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime

import m3u8

_ATTRIBUTE = re.compile(r'([A-Z0-9-]+)=("[^"]*"|[^,]*)')
_LEAST_OF_PART = 0.85
_SLACK_S = 0.002  # of what is written with few digits
_LONGEST_BEYOND_S = 0.498  # the target duration: told of what is longer


@dataclass(slots=True)
class Listed:
    """A segment as a playlist has it, whole or not. ``discontinuity``: its sequence number."""

    number: int
    discontinuity: int
    init: str
    date: datetime
    is_discontinuous: bool
    duration: float = 0.0
    uri: str = ""
    parts: list[tuple[str, float, bool]] = field(default_factory=list)


@dataclass(slots=True)
class Parsed:
    """A media playlist. ``partial`` is the segment that is not whole; ``skipped`` counts those left out."""

    target: int
    media_sequence: int
    discontinuity_sequence: int
    part_target: float
    segments: list[Listed]
    partial: Listed | None
    hint: str
    is_over: bool
    skipped: int
    control: dict[str, str]


def attributes(text: str) -> dict[str, str]:
    return {name: value.strip('"') for name, value in _ATTRIBUTE.findall(text)}


def parse(text: str, init: str = "") -> Parsed:
    """The playlist that ``text`` is. ``init``: the init file in force, where a part of it was skipped."""
    assert text.endswith("\n")
    lines = text.splitlines()
    assert lines[0] == "#EXTM3U"
    assert "" not in lines
    once = [tag for tag in (line.split(":")[0] for line in lines) if tag in _ONCE]
    assert len(once) == len(set(once)), once
    heads = {line.split(":", 1)[0]: line.split(":", 1)[1] for line in lines if ":" in line}
    parsed = Parsed(
        int(heads["#EXT-X-TARGETDURATION"]), int(heads["#EXT-X-MEDIA-SEQUENCE"]),
        int(heads["#EXT-X-DISCONTINUITY-SEQUENCE"]),
        float(attributes(heads["#EXT-X-PART-INF"])["PART-TARGET"]), [], None, "", False, 0,
        attributes(heads["#EXT-X-SERVER-CONTROL"]),
    )  # fmt: skip
    number, discontinuity = parsed.media_sequence, parsed.discontinuity_sequence
    pending = Listed(number, discontinuity, init, datetime.min, False)
    is_begun = False
    for line in lines[1:]:
        tag, _, value = line.partition(":")
        if tag == "#EXT-X-SKIP":
            parsed.skipped = int(attributes(value)["SKIPPED-SEGMENTS"])
            number += parsed.skipped
            pending.number = number
        elif tag == "#EXT-X-DISCONTINUITY":
            assert not pending.parts, "it stands before the parts"
            discontinuity += 1
            pending.discontinuity, pending.is_discontinuous, is_begun = discontinuity, True, True
        elif tag == "#EXT-X-MAP":
            pending.init, is_begun = attributes(value)["URI"], True
        elif tag == "#EXT-X-PROGRAM-DATE-TIME":
            assert value.endswith("Z")
            pending.date, is_begun = datetime.fromisoformat(value), True
        elif tag == "#EXT-X-PART":
            got = attributes(value)
            pending.parts.append((got["URI"], float(got["DURATION"]), got.get("INDEPENDENT") == "YES"))
            is_begun = True
        elif tag == "#EXTINF":
            pending.duration = float(value.rstrip(","))
        elif tag == "#EXT-X-PRELOAD-HINT":
            got = attributes(value)
            assert got["TYPE"] == "PART"
            parsed.hint = got["URI"]
        elif tag == "#EXT-X-ENDLIST":
            parsed.is_over = True
        elif not line.startswith("#"):
            pending.uri = line
            parsed.segments.append(pending)
            number += 1
            pending = Listed(number, discontinuity, pending.init, datetime.min, False)
            is_begun = False
    parsed.partial = pending if is_begun else None
    return parsed


def _sum(listed: Listed) -> float:
    return sum(duration for _, duration, _ in listed.parts)


def _is_longest(listed: Listed, parsed: Parsed) -> bool:
    """It may be longer in truth than it can be told."""
    return listed.duration > parsed.target + _LONGEST_BEYOND_S


_ONCE = (
    "#EXT-X-TARGETDURATION", "#EXT-X-MEDIA-SEQUENCE", "#EXT-X-DISCONTINUITY-SEQUENCE", "#EXT-X-VERSION",
    "#EXT-X-SERVER-CONTROL", "#EXT-X-PART-INF", "#EXT-X-SKIP", "#EXT-X-PRELOAD-HINT", "#EXT-X-ENDLIST",
)  # fmt: skip


class Checker:
    """Given each playlist of a stream in turn, fails on the first that breaks a rule, alone or after those
    before it.


    ``frame_s``: from one picture to the next. Of slow video, no number of frames may be as long as a part
    should be.
    """

    def __init__(self, frame_s: float = 0.04) -> None:
        self._frame_s = frame_s
        self.last: Parsed | None = None
        self.seen: dict[int, Listed] = {}
        self.count = 0

    def check(self, text: str) -> Parsed:
        """A whole playlist, not an update."""
        self.count += 1
        assert m3u8.loads(text).segments
        parsed = parse(text)
        assert not parsed.skipped
        if "#EXT-X-INDEPENDENT-SEGMENTS" in text:
            assert all(each.parts[0][2] for each in parsed.segments if each.parts)
        self._alone(parsed)
        if self.last is not None:
            self._behind(self.last, parsed)
        for listed in parsed.segments:
            self._as_before(listed)
        self.last = parsed
        return parsed

    def check_update(self, text: str, whole: Parsed) -> None:
        """``text`` is ``whole``, with what is old left out (bis, 6.2.5.1)."""
        skipped = parse(text).skipped
        assert "#EXT-X-VERSION:9" in text
        update = parse(text, whole.segments[skipped - 1].init if skipped else "")
        assert update.media_sequence == whole.media_sequence
        assert [each.uri for each in update.segments] == [each.uri for each in whole.segments[skipped:]]
        assert [each.init for each in update.segments] == [each.init for each in whole.segments[skipped:]]
        assert update.hint == whole.hint
        behind = sum(each.duration for each in update.segments)
        if skipped:
            assert behind >= float(whole.control["CAN-SKIP-UNTIL"])

    def _alone(self, parsed: Parsed) -> None:
        for listed in parsed.segments:
            assert listed.duration > 0
            assert round(listed.duration) <= parsed.target  # 4.3.3.1
            assert listed.init  # 4.3.2.5: fragmented MP4 needs one
            if not listed.parts or _is_longest(listed, parsed):
                pass
            elif all(part[1] < parsed.part_target for part in listed.parts):
                assert abs(_sum(listed) - listed.duration) < _SLACK_S
            else:  # a frame that lasts longer than a part may is told as one that does not
                assert _sum(listed) < listed.duration + _SLACK_S
        for before, after in zip(parsed.segments, parsed.segments[1:], strict=False):
            assert after.is_discontinuous or after.init == before.init  # 4.3.2.3
            if not after.is_discontinuous and not _is_longest(before, parsed):
                step = (after.date - before.date).total_seconds()
                assert abs(step - before.duration) < 1.0, "dates and durations tell one time"
        control = parsed.control
        assert control["CAN-BLOCK-RELOAD"] == "YES"
        assert float(control["CAN-SKIP-UNTIL"]) >= 6 * parsed.target  # bis, 4.4.3.8
        assert float(control["PART-HOLD-BACK"]) >= 2 * parsed.part_target  # ibid.
        self._parts(parsed)
        assert bool(parsed.hint) != parsed.is_over or parsed.partial is None
        if parsed.is_over:
            assert parsed.partial is None

    def _parts(self, parsed: Parsed) -> None:
        behind = 0.0
        for listed in reversed(parsed.segments):
            if behind < 3 * parsed.target - _SLACK_S:
                assert listed.parts, "listed for all near the end (bis, 6.2.2)"
            behind += listed.duration
        partial = [parsed.partial] if parsed.partial is not None else []
        for listed in [*parsed.segments, *partial]:
            for index, (uri, duration, _) in enumerate(listed.parts):
                assert uri == f"{listed.number}.{index}.m4s"
                assert duration <= parsed.part_target + _SLACK_S  # bis, 4.4.3.7
                if index + 1 < len(listed.parts):
                    least = min(_LEAST_OF_PART * parsed.part_target, parsed.part_target - self._frame_s)
                    assert duration >= least - _SLACK_S  # bis, 4.4.4.9
        if partial:
            assert parsed.hint == f"{partial[0].number}.{len(partial[0].parts)}.m4s"

    def _behind(self, last: Parsed, parsed: Parsed) -> None:
        assert not last.is_over, "a list that has ended does not change (6.2.1)"
        assert parsed.target == last.target  # 6.2.1
        assert parsed.part_target == last.part_target  # no player would expect another
        assert parsed.media_sequence >= last.media_sequence  # 6.2.2
        assert parsed.discontinuity_sequence >= last.discontinuity_sequence  # ibid.
        removed = [each for each in last.segments if each.number < parsed.media_sequence]
        if removed and len(removed) < len(last.segments):
            kept = sum(each.duration for each in parsed.segments)
            assert kept >= 3 * parsed.target, "a segment leaves while enough stay (6.2.2)"
        if last.partial is not None and last.partial.number == parsed.segments[-1].number:
            whole = parsed.segments[-1].parts
            assert whole[: len(last.partial.parts)] == last.partial.parts
            assert len(whole) > len(last.partial.parts), "the part that was hinted at came"

    def _as_before(self, listed: Listed) -> None:
        before = self.seen.setdefault(listed.number, listed)
        for name in ("discontinuity", "init", "date", "duration", "uri", "is_discontinuous"):
            assert getattr(before, name) == getattr(listed, name), name
