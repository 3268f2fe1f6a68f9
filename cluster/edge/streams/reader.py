"""A reader: a cursor in a stream log, how it wants the messages written, and where they go."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from cluster.core.media.classify import NOT_FRAME, MediaFlags
from cluster.core.media.log_entry import LogEntry
from cluster.core.message import Buffer
from cluster.edge.streams.interfaces import Encoding, Sink
from cluster.edge.streams.reader_states import ReaderState

if TYPE_CHECKING:
    from cluster.edge.streams.stream import Stream

_VIDEO = int(MediaFlags.VIDEO)
_AUDIO = int(MediaFlags.AUDIO)
_KEYFRAME = int(MediaFlags.KEYFRAME)
_NOT_FRAME = int(NOT_FRAME)


class Reader:
    """Where one reader stands.

    ``seq`` is the number of the next message to send; it is kept up to date only while the reader is not in
    step with the stream. ``needs_headers``: the stream's headers must go out before its next message;
    ``headers_seq``: the number of the message before which they did so last.
    ``needs_keyframe_since``: since when its video is held back for a keyframe,
    None while it is not; ``held_back`` counts the frames. ``skipped``: messages left out because it was
    slow. ``behind_since``: since when it has not caught up, None while it has. ``joined_at``: when it asked
    to read. ``rejoins_at``: from when on it may begin at a keyframe again. Times are of the worker's clock.
    ``duration_ms``: as much media time as it asked for, None for all there is; ``is_over``: it has had it.
    ``state``: as in ``reader_states``; ``Readers`` changes it.
    ``was_told_end``: it has been told the end of its stream, and waits for it to return.
    ``takes_shared_bytes``: the bytes that are the same for all readers of its encoding are right for this
    one; while it needs a keyframe they are so only as long as there is no video in them.
    """

    __slots__ = (
        "_greeted", "_played_ms", "_reached_ms", "audio", "behind_since", "duration_ms", "encoding",
        "headers_seq", "held_back", "is_over", "joined_at", "needs_headers", "needs_keyframe_since",
        "rejoins_at", "seq", "sink", "skipped", "state", "stream", "takes_shared_bytes", "video",
        "was_told_end",
    )  # fmt: skip

    def __init__(
        self,
        stream: Stream,
        sink: Sink,
        encoding: Encoding,
        joined_at: float,
        duration_ms: int | None = None,
    ) -> None:
        self.state = ReaderState.ABSENT
        self.stream = stream
        self.sink = sink
        self.encoding = encoding
        self.joined_at = joined_at
        self.rejoins_at = -math.inf
        self.duration_ms = duration_ms
        self.is_over = False
        self.was_told_end = False
        self._played_ms = -1  # before its first frame
        self._reached_ms: int | None = None
        self._greeted = False
        self.seq = 0
        self.needs_headers = True
        self.headers_seq = -1
        self.needs_keyframe_since: float | None = None
        self.held_back = 0
        self.skipped = 0
        self.behind_since: float | None = None
        self.set_media(audio=True, video=True)

    # ---- what its peer asks for --------------------------------------------------------------

    def leave(self) -> None:
        """The reader reads no more; without effect if it has left already."""
        self.stream.remove(self)

    def pause(self) -> None:
        """The reader is sent nothing until it is resumed; what it misses is not counted as a loss."""
        self.stream.readers.pause(self)

    def resume(self) -> None:
        """A pause is over: the reader goes on at the latest keyframe, but nothing is sent twice."""
        self.stream.readers.resume(self)

    def begin_late(self, since_seq: int) -> bool:
        """Its sink, which has been full since this reader joined, takes bytes now: the reader begins with
        the first frame there is for it since ``since_seq``. False if it has been paused instead."""
        return self.stream.readers.begin_late(self, since_seq)

    def want(self, *, audio: bool | None = None, video: bool | None = None) -> None:
        """The reader wants a medium from here on, or does not; None leaves it as it is."""
        wanted = self.audio if audio is None else audio, self.video if video is None else video
        if wanted != (self.audio, self.video):
            self.stream.readers.change_media(self, audio=wanted[0], video=wanted[1])

    # ---- what its sink tells -----------------------------------------------------------------

    def fell_behind(self) -> None:
        """Bytes wait for its socket, whosever they are: the reader goes on from the log."""
        self.stream.readers.fell_behind(self)

    def catch_up(self) -> bool:
        """Its socket takes bytes again; False if it is full before the reader has caught up."""
        return self.stream.readers.catch_up(self)

    # ---- what the stream asks ----------------------------------------------------------------

    def set_media(self, *, audio: bool, video: bool) -> None:
        self.audio = audio
        self.video = video
        self.takes_shared_bytes = self.encoding.is_shared and audio and video and self.duration_ms is None

    def encode(self, entries: list[LogEntry]) -> list[Buffer]:
        """The bytes of ``entries`` for this reader, in order."""
        buffers: list[Buffer] = []
        encode = self.encoding.entry
        if self.needs_keyframe_since is not None:
            entries = self._from_keyframe(entries)
        if self.takes_shared_bytes:
            for entry in entries:
                buffers += encode(entry)
            return buffers
        unwanted = (0 if self.audio else _AUDIO) | (0 if self.video else _VIDEO)
        for entry in entries:
            if self.duration_ms is not None and self._ends_before(entry, self.duration_ms):
                break
            if not entry.flags & unwanted:
                buffers += encode(entry)
        return buffers

    def _from_keyframe(self, entries: list[LogEntry]) -> list[LogEntry]:
        """``entries`` without the video in front of the first keyframe."""
        keyframe = next((n for n, entry in enumerate(entries) if entry.flags & _KEYFRAME), len(entries))
        if keyframe < len(entries):
            self.needs_keyframe_since = None
        kept = [entry for entry in entries[:keyframe] if not entry.is_video_frame]
        self.held_back += keyframe - len(kept)
        return kept + entries[keyframe:]

    def _ends_before(self, entry: LogEntry, duration_ms: int) -> bool:
        """Whether the media time asked for, counted from the first frame, is over at ``entry``."""
        if self._played_ms < 0:
            if not entry.flags & _NOT_FRAME:
                self._played_ms, self._reached_ms = 0, entry.progress_ms
            return False
        if self._reached_ms is not None:
            self._played_ms += entry.progress_ms - self._reached_ms
        self._reached_ms = entry.progress_ms
        self.is_over = self.is_over or self._played_ms >= duration_ms
        return self.is_over

    def leave_out_gap(self) -> None:
        """Media time passes that it is not sent (a pause, a publisher's absence): its duration stands."""
        self._reached_ms = None

    @property
    def lacks_headers(self) -> bool:
        """The stream's headers have changed since it was last sent all of them."""
        return self.headers_seq <= self.stream.log.headers_seq

    @property
    def needs_greeting(self) -> bool:
        """Something must go before its next message."""
        return self.needs_headers or not self._greeted

    def encode_greeting(self, headers: list[LogEntry]) -> list[Buffer]:
        """What goes before this reader's next message: ``headers``, and before its first a greeting."""
        buffers: list[Buffer] = []
        if not self._greeted:
            self._greeted = True
            buffers += self.encoding.greeting()
        if headers:
            buffers += self.encoding.headers(headers)
        return buffers
