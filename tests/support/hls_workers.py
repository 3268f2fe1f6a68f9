"""The workers that make HLS of one stream: its origin, and others that get its messages over the bus."""

from __future__ import annotations

from collections.abc import Iterable

from cluster.core.media.hls import HlsMuxer
from cluster.core.media.log_entry import LogEntry
from cluster.core.media.marks import NUMBERED_SINCE_MS, Mark, Marker, decode_mark
from cluster.core.media.stream_log import StreamLog
from cluster.core.message import Message

TARGET_MS = 2000
PART_MS = 270
WALL_MS = NUMBERED_SINCE_MS + 200_000_000_000
MAX_BYTES = 1 << 30


class Worker:
    """A stream log and what is made of it. ``flush`` is how many messages go out together.

    ``texts`` are the playlists that viewers could have been given, in order; ``files`` all they list.
    """

    def __init__(self, *, is_origin: bool, flush: int = 1, max_bytes: int = MAX_BYTES) -> None:
        self.log = StreamLog()
        self.log.keep_from = 0
        self.log.unsent_from = 0
        self.is_origin = is_origin
        self.muxer = HlsMuxer(TARGET_MS, PART_MS, max_bytes)
        self.texts: list[str] = []
        self.files: dict[str, bytes] = {}
        self._flush = flush
        self._waiting: list[LogEntry] = []
        self._version = 0

    def join(self) -> None:
        """Begin to make HLS of what the log has, and of what comes."""
        start = self.log.start_of_join()
        entries = self.log.read(start, self.log.next_seq)
        self.begin(self.log.headers_for(start), entries)

    def begin(self, headers: list[LogEntry], entries: list[LogEntry], *, gap: bool = False) -> None:
        self.muxer.begin(headers, entries, from_wire=not self.is_origin, is_same_publisher=gap)
        self._note()

    def give(self, entries: Iterable[LogEntry]) -> None:
        self._waiting += entries
        if len(self._waiting) >= self._flush:
            self.flush()

    def flush(self) -> None:
        entries, self._waiting = self._waiting, []
        self.muxer.feed(entries)
        self._note()

    def end(self) -> None:
        self.flush()
        self.muxer.end()
        self._note()

    def _note(self) -> None:
        muxer = self.muxer
        if muxer.version == self._version or not muxer.is_ready:
            return
        self._version = muxer.version
        text = muxer.playlist().decode()
        if self.texts and text == self.texts[-1]:
            return
        self.texts.append(text)
        for line in text.splitlines():
            if 'URI="' in line and "PRELOAD-HINT" not in line:
                self.fetch(line.split('URI="')[1].split('"')[0])
            elif not line.startswith("#"):
                self.fetch(line)

    def fetch(self, name: str) -> bytes:
        """The file, which is the same whenever it is fetched."""
        stem, _, kind = name.rpartition(".")
        number, _, part = stem.partition(".")
        if kind == "mp4":
            found = self.muxer.init(stem)
        elif part:
            got = self.muxer.part(int(number), int(part))
            found = None if got is None else bytes(got)
        else:
            body = self.muxer.segment(int(number))
            found = None if body is None else b"".join(body)
        assert found is not None, name
        assert self.files.setdefault(name, found) == found, name
        return found


class Workers:
    """An origin, and ``others``, which all get what it gets."""

    def __init__(self, *flushes: int) -> None:
        self.origin = Worker(is_origin=True)
        self.others = [Worker(is_origin=False, flush=flush) for flush in flushes]
        self.wall_ms = WALL_MS
        self._swept_ms = 0

    @property
    def all(self) -> list[Worker]:
        return [self.origin, *self.others]

    def publish(self, gap_ms: int = 0) -> None:
        """A publisher begins, ``gap_ms`` after the one before."""
        self.wall_ms += gap_ms
        log = self.origin.log
        last: Mark | None = decode_mark(log.last_mark) if log.last_mark else None
        for index, worker in enumerate(self.all):
            worker.flush()
            worker.log.restart(gap_ms + 17 * index)  # each by its own clock
            worker.begin([], [])
        log.marker = Marker(TARGET_MS, lambda: self.wall_ms, last, log.timeline.audio_since_ms)

    def send(self, *messages: Message, is_late: bool = False) -> None:
        """The publisher sends these. ``is_late``: the origin does not look at the time meanwhile."""
        for message in messages:
            log = self.origin.log
            seq, before_ms = log.next_seq, log.timeline.progress_ms
            log.append(message)
            self.wall_ms += log.timeline.progress_ms - before_ms
            if log.timeline.progress_ms - self._swept_ms >= 250 and not is_late:
                self._swept_ms = log.timeline.progress_ms
                log.note_gone()
                log.mark_overdue()
            entries = log.read(seq, log.next_seq)
            self.origin.give(entries)
            for worker in self.others:
                held_back = worker.log.dropped_before_keyframe
                got = [worker.log.append(entry.message()) for entry in entries]
                worker.give(entry for entry in got if entry is not None)
                if worker.log.dropped_before_keyframe != held_back:
                    worker.flush()
                    worker.muxer.miss()

    def end(self) -> None:
        for worker in self.all:
            worker.end()
