"""One stream's clock: a publisher's 32-bit timestamps in, timestamps that never jump back out.

Audio and video (and each further track) have a clock of their own, for encoders stamp them apart, some by
a minute. All share one shift: what has to be added so that a publisher that starts anew goes on after what
players have seen. Only coded frames move a clock. Everything else follows.

    message                           where it stands
    first frame of a stream           where its stamp says
    frame                             as stamped, moved by the shift of its medium
    frame, up to a second back        at the highest place of its medium
    frame, further back               a restart: right behind what there was; the other media follow it when
                                      they fall back too, and so stay as far apart as they are stamped
    frame, back from a stray ahead    the same, and the other media go with it at once
    frame, back where its medium      as stamped, by the shift from before: what came in between was a stray
    was before a restart
    first frame of a new publisher    behind what there was, by the time that passed
    first frame of its next medium    as far from the other media as it is stamped
    header, end, command, empty       as stamped if that is where its medium is, else at its highest place
    data                              as stamped if that is near the media, else where the media are
    onMetaData                        at 0: FFmpeg takes one that stands elsewhere for a track of subtitles
"""

from __future__ import annotations

from typing import Final

from cluster.core.media.classify import NOT_TIMED, MediaFlags, flags_of, track_ids
from cluster.core.message import Buffer, Message, MessageType

_WRAP = 1 << 32
_HALF = 1 << 31

#: A frame further back than this means a restarted clock: no encoder interleaves one medium so far.
MAX_STEP_BACK_MS: Final = 1000

#: A frame further ahead than this is looked at: it may come back from a stray.
_LEAP_MS = 1000

#: A restart is settled once its medium has gone on for this long. A stray aggregate holds less.
SETTLED_MS: Final = 1000

#: Behind a stray, a medium goes on at most this far from where it was.
_RETURN_MS = 10_000

#: From the last frame before a restart in mid-stream to the first one after: one frame of slow video.
RESTART_GAP_MS: Final = 40

#: Data further off than this from all media was stamped by another clock, or not at all.
MAX_DATA_OFFSET_MS: Final = 1000

_AUDIO_TYPE = int(MessageType.AUDIO)
_AUDIO = int(MediaFlags.AUDIO)
_VIDEO = int(MediaFlags.VIDEO)
_DATA = int(MediaFlags.DATA)
_METADATA = int(MediaFlags.METADATA)
_MULTITRACK = int(MediaFlags.MULTITRACK)
_FOLLOWS = int(NOT_TIMED)
_CODED = _AUDIO | _VIDEO


def signed_step_ms(before: int, after: int) -> int:
    """From one 32-bit timestamp to another the short way (RFC 1982; RTMP 1.0, section 3)."""
    return (after - before + _HALF) % _WRAP - _HALF


def medium_of(type_id: int, flags: int, payload: Buffer) -> int:
    """Whose clock an audio or video message goes by: its type, and above that its (first) track."""
    return type_id | track_ids(type_id, payload)[0] << 8 if flags & _MULTITRACK else type_id


class _Medium:
    """The clock of one medium.

    ``placed_ms`` is where its last frame, stamped ``wire_ms``, belongs; ``highest_ms`` the highest place
    handed out. ``offset_ms`` leads from its places to the stream's progress, which was ``began_ms`` at its
    first frame. ``restarts`` counts those of its clock; ``before`` is its stamp, place, count and offset
    before the last one, which stood at ``restarted_ms``.
    """

    __slots__ = (
        "before", "began_ms", "heard_ms", "highest_ms", "leapt_from", "looked_wire_ms", "offset_ms",
        "placed_ms", "restarted_ms", "restarts", "wire_ms",
    )  # fmt: skip

    def __init__(
        self, wire_ms: int, placed_ms: int, highest_ms: int, offset_ms: int, restarts: int
    ) -> None:
        self.began_ms = highest_ms + offset_ms
        self.wire_ms = wire_ms
        self.placed_ms = placed_ms
        self.highest_ms = highest_ms
        self.offset_ms = offset_ms
        self.restarts = restarts
        self.restarted_ms = placed_ms
        #: The medium's stamp when it was last looked at, and the progress when that had changed.
        self.looked_wire_ms = -1
        self.heard_ms = 0
        self.before: tuple[int, int, int, int] | None = None
        #: The medium's stamp and place before it last went far ahead, and where it went.
        self.leapt_from: tuple[int, int, int] | None = None

    def place_of(self, wire_ms: int) -> int:
        """Where ``wire_ms`` stands by the shift of this medium."""
        return self.placed_ms + signed_step_ms(self.wire_ms, wire_ms)

    @property
    def has_leapt(self) -> bool:
        """This medium has gone ahead so recently that its frame may have been a stray."""
        return self.leapt_from is not None and self.placed_ms - self.leapt_from[2] < SETTLED_MS

    @property
    def is_settling(self) -> bool:
        """This medium's clock has restarted so recently that its frame may have been a stray."""
        return self.placed_ms - self.restarted_ms < SETTLED_MS


class Timeline:
    """Places the messages of one stream; the table above says where.

    ``progress_ms`` is how much media time has passed: it rises with whichever medium is furthest since it
    was first seen, so that it tells how far behind live a message is, however far apart media are stamped.
    """

    __slots__ = (
        "_before", "_began_ms", "_data_ms", "_headers_ms", "_keyframe_ms", "_media",
        "keyframe_interval_ms", "progress_ms",
    )  # fmt: skip

    def __init__(self) -> None:
        self.progress_ms = 0
        self._media: dict[int, _Medium] = {}
        #: The media of the publishers before: their highest place, and from there to the progress.
        self._before: dict[int, tuple[int, int]] = {}
        self._began_ms = 0  # the progress when the publisher began
        self._headers_ms = 0
        self._data_ms = 0
        #: The progress at the latest keyframe of this publisher, and from the one before; 0 if not known.
        self._keyframe_ms: int | None = None
        self.keyframe_interval_ms = 0

    def note_keyframe(self) -> int:
        """A keyframe to join at is coming; returns the progress."""
        if self._keyframe_ms is not None:
            self.keyframe_interval_ms = self.progress_ms - self._keyframe_ms
        self._keyframe_ms = self.progress_ms
        return self.progress_ms

    def place(self, medium: int, wire_ms: int) -> int:
        """The place of a coded frame stamped ``wire_ms`` (32-bit or already unwrapped)."""
        clock = self._media.get(medium)
        if clock is None:
            return self._begin(medium, wire_ms)
        step_ms = (wire_ms - clock.wire_ms) % _WRAP
        placed_ms = clock.placed_ms + step_ms if step_ms < _LEAP_MS else self._leap(medium, clock, wire_ms)
        clock.wire_ms = wire_ms
        clock.placed_ms = placed_ms
        if placed_ms < clock.highest_ms:
            return clock.highest_ms
        clock.highest_ms = placed_ms
        progress_ms = placed_ms + clock.offset_ms
        if progress_ms > self.progress_ms:
            self.progress_ms = progress_ms
        return placed_ms

    def place_other(self, type_id: int, flags: int, payload: Buffer, wire_ms: int) -> int:
        """The place of a message that is no coded frame of audio or video."""
        if flags & _CODED:
            return self._follow(medium_of(type_id, flags, payload), wire_ms)
        return 0 if flags & _METADATA else self._place_data(wire_ms)

    def place_message(self, message: Message) -> int:
        """The place of any message."""
        type_id, wire_ms, payload, _ = message
        flags = flags_of(type_id, payload)
        if flags & _CODED and not flags & _FOLLOWS:
            return self.place(medium_of(type_id, flags, payload), wire_ms)
        return self.place_other(type_id, flags, payload, wire_ms)

    def restart(self, gap_ms: int) -> None:
        """A new publisher begins: its first frame stands ``gap_ms`` (at least 1) on."""
        for medium, clock in self._media.items():
            self._before[medium] = clock.highest_ms, clock.offset_ms
        self._media.clear()
        if self._before:
            self.progress_ms += max(1, gap_ms)
        self._began_ms = self.progress_ms
        self._keyframe_ms = None

    def step_ms(self, message: Message) -> int | None:
        """The step to ``message`` from the last frame of its medium, or else of any; None before frames."""
        type_id, wire_ms, payload, _ = message
        clock = self._media.get(medium_of(type_id, flags_of(type_id, payload), payload)) or self._newest()
        return None if clock is None else signed_step_ms(clock.wire_ms, wire_ms)

    def now(self, medium: int) -> int:
        """Where ``medium`` has come to: a header may stand there, before frames and behind them.

        Nearly as far as the others if it is silent: FFmpeg gives up on headers hours before the media.
        """
        clock = self._media.get(medium)
        if clock is not None:
            return max(clock.highest_ms, self.progress_ms - clock.offset_ms - MAX_STEP_BACK_MS)
        if medium in self._before:
            return self._before[medium][0]
        if self._media:
            return min(clock.highest_ms for clock in self._media.values())
        return min((highest for highest, _ in self._before.values()), default=self._headers_ms)

    def silent_ms(self, type_id: int) -> int:
        """The media time for which the publisher has sent no frame of this type, on any track.

        To be asked now and then: as exact as it is asked often, and free of charge for frames.
        """
        heard_ms = self._began_ms
        for medium, clock in self._media.items():
            if medium & 0xFF == type_id:
                if clock.wire_ms != clock.looked_wire_ms:
                    clock.looked_wire_ms, clock.heard_ms = clock.wire_ms, self.progress_ms
                heard_ms = max(heard_ms, clock.heard_ms)
        return self.progress_ms - heard_ms

    def audio_since_ms(self) -> int | None:
        """The progress at the publisher's first frame of audio, if there has been one."""
        began_ms = [clock.began_ms for medium, clock in self._media.items() if medium & 0xFF == _AUDIO_TYPE]
        return min(began_ms, default=None)

    # What is rare.

    def _begin(self, medium: int, wire_ms: int) -> int:
        """The first frame of a medium since the publisher began."""
        other = self._newest()
        highest_ms = self._before[medium][0] if medium in self._before else 0
        restarts = 0
        if other is None:
            placed_ms = self._end_near(medium, self._places_before()) if self._before else wire_ms
        else:
            placed_ms = other.place_of(wire_ms)
            restarts = other.restarts
            if placed_ms < highest_ms - MAX_STEP_BACK_MS:
                # The media of the publisher before were less far apart: all of them move on.
                missing_ms = highest_ms + RESTART_GAP_MS - placed_ms
                placed_ms += missing_ms
                for clock in self._media.values():
                    clock.placed_ms += missing_ms
                    clock.offset_ms -= missing_ms
        highest_ms = max(highest_ms, placed_ms)
        offset_ms = self.progress_ms - highest_ms
        self._media[medium] = _Medium(wire_ms, placed_ms, highest_ms, offset_ms, restarts)
        return highest_ms

    def _leap(self, medium: int, clock: _Medium, wire_ms: int) -> int:
        """Where a frame belongs that is behind the last one of its medium, or far ahead of it."""
        placed_ms = clock.place_of(wire_ms)
        if placed_ms < clock.highest_ms - MAX_STEP_BACK_MS:
            return self._restart_clock(medium, clock, wire_ms)
        if clock.before is not None and clock.is_settling:
            was_wire_ms, was_placed_ms, was_restarts, was_offset_ms = clock.before
            step_ms = signed_step_ms(was_wire_ms, wire_ms)
            if -MAX_STEP_BACK_MS <= step_ms <= _RETURN_MS:
                # What was taken for a restart was a stray.
                clock.restarts, clock.offset_ms, clock.before = was_restarts, was_offset_ms, None
                return was_placed_ms + step_ms
        if placed_ms > clock.placed_ms:
            clock.leapt_from = clock.wire_ms, clock.placed_ms, placed_ms
        return placed_ms

    def _restart_clock(self, medium: int, clock: _Medium, wire_ms: int) -> int:
        """Where a frame belongs that has fallen back: its publisher, or only it, counts anew."""
        if clock.before is None or not clock.is_settling:
            clock.before = (clock.wire_ms, clock.placed_ms, clock.restarts, clock.offset_ms)
        newest = self._newest()
        assert newest is not None
        placed_ms = newest.place_of(wire_ms)
        if newest.restarts > clock.restarts and placed_ms >= clock.highest_ms - MAX_STEP_BACK_MS:
            clock.restarts = newest.restarts
        else:
            highest = {each: other.highest_ms for each, other in self._media.items()}
            placed_ms = self._end_near(medium, highest) + RESTART_GAP_MS
            clock.restarts = newest.restarts + 1
            self._take_along(clock, wire_ms, placed_ms)
        clock.restarted_ms = placed_ms
        clock.offset_ms = self.progress_ms - placed_ms
        return placed_ms

    def _take_along(self, clock: _Medium, wire_ms: int, placed_ms: int) -> None:
        """``clock`` is back from a stray far ahead, and cannot go back: the others go with it."""
        if clock.leapt_from is None or not clock.has_leapt:
            return
        was_wire_ms, was_placed_ms, _ = clock.leapt_from
        step_ms = signed_step_ms(was_wire_ms, wire_ms)
        clock.leapt_from = None
        if not -MAX_STEP_BACK_MS <= step_ms <= _RETURN_MS:
            return
        moved_ms = placed_ms - was_placed_ms - step_ms
        for other in self._media.values():
            if other is not clock and not other.has_leapt:  # else it comes back by itself
                other.placed_ms += moved_ms
                other.offset_ms = self.progress_ms - other.placed_ms
                other.restarts = clock.restarts

    def _newest(self) -> _Medium | None:
        """The clock whose shift is in force: the one that has restarted most often."""
        return max(self._media.values(), key=lambda clock: clock.restarts, default=None)

    def _places_before(self) -> dict[int, int]:
        """Where the media of the publishers before would stand by now: one may have ended long ago."""
        return {medium: self.progress_ms - offset for medium, (_, offset) in self._before.items()}

    def _end_near(self, medium: int, highest: dict[int, int]) -> int:
        """Where ``medium`` ended. Media that ended shortly after it count too: they interleave with it."""
        own_ms = highest.get(medium)
        if own_ms is None:
            return max(highest.values())
        return max(place for place in highest.values() if place <= own_ms + MAX_STEP_BACK_MS)

    def _follow(self, medium: int, wire_ms: int) -> int:
        clock = self._media.get(medium)
        if clock is not None:
            placed_ms = clock.place_of(wire_ms)
            # As far as its medium would have come by now, had it sent as much as the others.
            if not clock.highest_ms <= placed_ms <= self.progress_ms - clock.offset_ms:
                return clock.highest_ms
            clock.highest_ms = placed_ms
            return placed_ms
        other = self._newest()
        if other is None:
            if not self._before:
                # Headers are all there is to go by. Some are stamped 0 whatever the clock says.
                self._headers_ms = max(self._headers_ms, wire_ms)
                return wire_ms or self._headers_ms
            return self.now(medium)
        placed_ms = other.place_of(wire_ms)
        earliest_ms = self.now(medium)
        is_stamped = wire_ms > 0 or placed_ms >= earliest_ms - MAX_STEP_BACK_MS
        lowest_ms = earliest_ms if medium in self._before else 0
        if is_stamped and lowest_ms <= placed_ms <= self._latest() + MAX_DATA_OFFSET_MS:
            return placed_ms
        return earliest_ms

    def _latest(self) -> int:
        return max(clock.highest_ms for clock in self._media.values())

    def _place_data(self, wire_ms: int) -> int:
        newest = self._newest()
        if newest is None:
            return max((highest for highest, _ in self._before.values()), default=wire_ms)
        earliest_ms, latest_ms = min(clock.highest_ms for clock in self._media.values()), self._latest()
        placed_ms = newest.place_of(wire_ms)
        if not earliest_ms - MAX_DATA_OFFSET_MS <= placed_ms <= latest_ms + MAX_DATA_OFFSET_MS:
            placed_ms = latest_ms
        if placed_ms < self._data_ms <= latest_ms + MAX_DATA_OFFSET_MS:
            placed_ms = self._data_ms
        self._data_ms = placed_ms
        return max(0, placed_ms)
