"""One live stream in one worker: its log, and its players by how they stand to it.

    in step     has everything up to the last flush; the next flush is one ``send`` of shared bytes
    private     the same, but needs bytes of its own (another message stream id, audio or video off, or its
                video is held back for a keyframe)
    behind      its socket is full, or it has just joined; reads the log from its own cursor
    awaiting    waits for a publisher
    paused      in none of these; resuming is joining at the latest keyframe, or where it stopped if later

No player has a queue: a slow one costs a cursor and the one message its socket cut in two.

Only video waits for a keyframe: headers and audio go out at once. While the video of a stream is gone, its
audio is the same for everyone, so a player that needs a keyframe is in step all the same.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from itertools import repeat
from operator import call
from typing import Protocol

from cluster.core.errors import CloseReason
from cluster.core.media.log_entry import LogEntry
from cluster.core.media.stream_log import LogLimits, StreamLog
from cluster.core.message import Buffer, Message
from cluster.core.rtmp.status import Code, Level
from cluster.edge.rtmp.player import Player, shared_chunks
from cluster.edge.streams.counters import Counters

#: Media handed at once to a socket that catches up: small enough that a slow player pins little of
#: the log, large enough that a join takes few system calls.
CATCH_UP_BYTES = 512 * 1024

#: Nobody reads the log: nothing is kept for a cursor.
_KEEP_NOTHING = sys.maxsize


@dataclass(frozen=True, slots=True)
class SlowPlayerRule:
    """How far behind a player may fall.

    Beyond ``skip_ms`` of media it is moved to the newest keyframe; after ``close_s`` without having
    caught up once it is closed.
    """

    skip_ms: int
    close_s: float


class StreamOwner(Protocol):
    """What a stream needs from the worker it lives in."""

    now: float
    counters: Counters
    dirty_streams: list[Stream]

    def publish_to_bus(self, stream: Stream, first_seq: int, entries: list[LogEntry]) -> None:
        """Hand the messages from ``first_seq`` on to the other workers that play this stream."""

    def audience_changed(self, stream: Stream) -> None:
        """``stream.is_heard`` may have changed."""

    def play_over(self, player: Player) -> None:
        """``player`` has been sent as much as it asked for: end its play after this turn."""


class Stream:
    """The stream log of one key and everyone who reads it.

    ``epoch`` is that of the publisher the log is fed by, None before the first. ``is_local``: that
    publisher is on this worker. ``offline_since``: when the publisher left, None while there is one.
    ``wanted``: another worker plays this stream, so flushes also go to the bus. ``tap`` is given each
    message of the publisher as well.
    """

    def __init__(
        self, key: str, owner: StreamOwner, log_limits: LogLimits, slow_rule: SlowPlayerRule
    ) -> None:
        self.key = key
        self.log = StreamLog(log_limits)
        self.log.keep_from = _KEEP_NOTHING
        self.epoch: int | None = None
        self.is_local = False
        self.offline_since: float | None = owner.now
        self.last_media_at = owner.now
        self.wanted = False
        self.tap: Callable[[Message], None] | None = None
        self.players: dict[Player, None] = {}
        self.flushed_seq = 0
        self._owner = owner
        self._slow_rule = slow_rule
        self._keyframe_wait_s = log_limits.keyframe_wait_ms / 1000
        self._has_audience = False
        self._dirty = False
        self._seq_at_sweep = 0
        self._in_step: dict[Player, Callable[[Buffer], int]] = {}
        self._private: set[Player] = set()
        self._behind: set[Player] = set()
        self._awaiting: set[Player] = set()
        #: Of those in step, the ones that need a keyframe.
        self._pictureless: set[Player] = set()

    @property
    def is_heard(self) -> bool:
        """Somebody waits for its messages: a player here or elsewhere, or a program."""
        return self._has_audience or self.tap is not None

    # ---- feeding -----------------------------------------------------------------------------

    def begin(self, epoch: int, *, is_local: bool) -> None:
        """A publisher begins: the log is fed by ``epoch`` from here on, and players stay.

        Whoever waits for a publisher reads from its first message.
        """
        if self._dirty:
            self.flush()
        same_clock = epoch == self.epoch  # a gap that could not be filled, not another publisher
        self.epoch = epoch
        self.is_local = is_local
        self.offline_since = None
        self.log.restart(None if same_clock else int((self._owner.now - self.last_media_at) * 1000))
        self.last_media_at = self._owner.now
        self.flushed_seq = self.log.next_seq
        self._pictureless.clear()
        for player in self.players:
            player.leave_out_gap()
            if player not in self._behind:
                player.needs_keyframe_since = None  # the log itself begins its video with one
        for player in list(self._awaiting):
            player.needs_headers = False  # they are the first messages of the new publisher
            self._place(player, self.flushed_seq)

    def reappear(self) -> None:
        """The publisher was thought gone and never was: who waits for one joins."""
        self.offline_since = None
        for player in list(self._awaiting):
            self._awaiting.discard(player)
            self._join(player)

    def append(self, message: Message) -> None:
        """One message of the publisher; it goes out at the end of this turn."""
        if self.tap is not None:
            self.tap(message)
        if self.log.append(message) is None:
            self._owner.counters.publisher_messages_dropped += 1
        elif self._has_audience and not self._dirty:
            self._dirty = True
            self._owner.dirty_streams.append(self)

    def end(self) -> None:
        """The publisher left; players stay, for as long as the owner's grace lasts."""
        if self._dirty:
            self.flush()  # its last messages, while it still counts as ours: the bus wants them too
        if self.offline_since is None:
            self.offline_since = self._owner.now
        self.is_local = False

    def set_wanted(self, wanted: bool) -> None:
        self.wanted = wanted
        self._note_audience()

    # ---- fan-out -----------------------------------------------------------------------------

    def flush(self) -> None:
        """Everything appended since the last flush goes out: one write per player in step."""
        self._dirty = False
        log = self.log
        first_seq = max(self.flushed_seq, log.first_seq)
        entries = log.read(first_seq, log.next_seq)
        self.flushed_seq = log.next_seq
        if not entries:
            return
        if self.wanted and self.is_local:
            self._owner.publish_to_bus(self, first_seq, entries)
        if self._pictureless and any(entry.is_video_frame for entry in entries):
            self._hold_video_back(first_seq)
        if self._in_step:
            self._send_to_all(first_seq, entries)
        for player in list(self._private):
            self.catch_up(player)
        self._note_kept()

    def _send_to_all(self, first_seq: int, entries: list[LogEntry]) -> None:
        chunks: list[Buffer] = []
        for entry in entries:
            chunks += shared_chunks(entry)
        batch = b"".join(chunks)
        size = len(batch)
        sent: list[int] = []
        broken: list[tuple[Player, OSError]] = []
        # No bytecode runs for a socket that takes it all. What ``send`` raises ends ``extend`` after
        # the players before; the same iterator then goes on with the next.
        sends = map(call, self._in_step.values(), repeat(batch))
        while len(sent) < len(self._in_step):
            try:
                sent.extend(sends)
            except BlockingIOError:
                sent.append(0)
            except OSError as error:
                broken.append((list(self._in_step)[len(sent)], error))
                sent.append(size)
        counters = self._owner.counters
        counters.writes += len(sent)
        counters.bytes_sent += sum(sent)
        if sent.count(size) < len(sent):
            for player, count in list(zip(self._in_step, sent, strict=True)):
                if count < size:
                    self._cut(player, count, first_seq, entries)
        for player, failure in broken:
            player.connection.close(CloseReason.PEER_RESET, str(failure))

    def _cut(self, player: Player, sent: int, first_seq: int, entries: list[LogEntry]) -> None:
        """``player``'s socket took only ``sent`` bytes of the flush: it goes on from the log.

        Only the rest of the message that was cut is kept for it, not the rest of the flush.
        """
        self._take_out(player)
        self._behind.add(player)
        player.behind_since = self._owner.now
        for seq, entry in enumerate(entries, first_seq):
            chunks = shared_chunks(entry)
            for index, chunk in enumerate(chunks):
                if sent < len(chunk):
                    rest = [memoryview(chunk)[sent:], *chunks[index + 1 :]]
                    self._owner.counters.bytes_sent += sum(map(len, rest))
                    player.seq = seq + 1
                    player.connection.wait_to_write(rest)
                    return
                sent -= len(chunk)

    # ---- players -----------------------------------------------------------------------------

    def add(self, player: Player) -> None:
        """A player joins: at the latest keyframe, or at the next message, or when there is any."""
        self.players[player] = None
        self._note_audience()
        self._join(player)

    def remove(self, player: Player) -> None:
        if player in self.players:
            del self.players[player]
            self._take_out(player)
            self._note_audience()

    def pause(self, player: Player) -> None:
        """``player`` is sent nothing until it is resumed; what it misses is not counted as a loss."""
        player.paused = True
        if player in self._in_step:
            player.seq = self.flushed_seq
        self._take_out(player)
        player.behind_since = None

    def resume(self, player: Player) -> None:
        """A pause is over: ``player`` goes on at the latest keyframe, but nothing is sent twice."""
        if not player.paused:
            return
        player.paused = False
        self._take_out(player)
        player.leave_out_gap()
        player.needs_headers = True
        self._join(player, not_before=player.seq)

    def change_media(self, player: Player, *, audio: bool, video: bool) -> None:
        """``player`` wants these media from here on. Video that it did not want begins with a keyframe."""
        if video and not player.video and self.log.has_video:
            player.needs_keyframe_since = self._owner.now
        player.audio, player.video = audio, video
        player.needs_headers = True
        if player.paused or player in self._awaiting:
            return
        if player in self._in_step:
            player.seq = self.flushed_seq
        self._take_out(player)
        self._place(player, player.seq)

    def park(self, player: Player) -> None:
        """The stream has ended for ``player``: of the old log it gets no more, unlike in the grace period.

        One that is paused stays in no set, and is paused when the stream returns.
        """
        player.behind_since = None
        if player in self._behind:
            self._owner.counters.player_messages_dropped += max(0, self.flushed_seq - player.seq)
        if player in self._in_step or player in self._private or player in self._behind:
            self._take_out(player)
            player.leave_out_gap()
            player.needs_headers = True
            self._join(player)
        self.log.forget()  # players may wait for hours

    def fell_behind(self, player: Player) -> None:
        """Its connection has bytes pending: it reads from the log until it has caught up."""
        if player in self._in_step:
            player.seq = self.flushed_seq
        elif player not in self._private:
            return
        self._take_out(player)
        self._behind.add(player)
        player.behind_since = self._owner.now

    def catch_up(self, player: Player) -> bool:
        """Send ``player`` what it lacks; False if its socket is full before it has caught up."""
        if player in self._private:
            self._private.discard(player)
            self._behind.add(player)
        elif player not in self._behind:
            return True
        connection = player.connection
        log = self.log
        while not connection.pending:
            if player.seq < log.first_seq:
                self._skip(player)
            starts_at = player.seq
            entries = log.read(starts_at, self.flushed_seq, CATCH_UP_BYTES)
            player.seq += len(entries)
            buffers = player.encode(entries)
            if player.held_back:
                self._owner.counters.player_video_held_back += player.held_back
                player.held_back = 0
            if player.is_over:
                self._owner.play_over(player)
            if player.needs_greeting:
                headers = log.headers_for(starts_at) if player.needs_headers else []
                player.needs_headers = False
                buffers = player.encode_greeting(headers) + buffers
            self._owner.counters.bytes_sent += sum(map(len, buffers))
            if buffers and not connection.write_media(buffers):
                break
            if player.seq >= self.flushed_seq:
                self._caught_up(player)
                return True
        if player in self._behind and player.behind_since is None:
            player.behind_since = self._owner.now
        return False

    def sweep(self, now: float) -> None:
        """A few times a second: the slow player rule, and whether the publisher sends."""
        if self.log.next_seq != self._seq_at_sweep:
            self._seq_at_sweep = self.log.next_seq
            self.last_media_at = now
        self.log.note_gone()
        for player in [player for player in self._behind if player.behind_since is not None]:
            if now - player.behind_since > self._slow_rule.close_s:  # type: ignore[operator]
                self._close_slow(player)
            elif self.log.lag_ms(player.seq) > self._slow_rule.skip_ms:
                self._skip(player)
        for player in self._private:
            since = player.needs_keyframe_since
            if since is not None and now - since >= self._keyframe_wait_s and not self.log.video_is_gone:
                player.needs_keyframe_since = None  # no keyframe comes: its video begins where it is
        self._note_kept()

    def _join(self, player: Player, not_before: int = 0) -> None:
        if self.offline_since is not None:
            player.seq = self.flushed_seq
            self._awaiting.add(player)
        else:
            self._place(player, self._start_of(player, not_before))

    def _start_of(self, player: Player, not_before: int = 0) -> int:
        """Where ``player`` goes that joins now; if not at a keyframe, it needs the next one.

        A keyframe that has not been flushed yet comes with the next flush. One that has had all up to
        ``not_before`` goes on there if that is later.
        """
        log = self.log
        start = min(log.start_of_join(), self.flushed_seq)
        if start < not_before:
            return not_before
        at_keyframe = start == log.join_seq
        player.needs_keyframe_since = self._owner.now if log.has_video and not at_keyframe else None
        return start

    def _place(self, player: Player, seq: int) -> None:
        player.seq = seq
        self._awaiting.discard(player)
        self._behind.add(player)
        self.catch_up(player)

    def _caught_up(self, player: Player) -> None:
        self._behind.discard(player)
        player.behind_since = None
        needs_keyframe = player.needs_keyframe_since is not None
        if player.takes_shared_bytes and (not needs_keyframe or self.log.video_is_gone):
            self._in_step[player] = player.connection.send
            if needs_keyframe:
                self._pictureless.add(player)
        else:
            self._private.add(player)
        player.connection.update_pace()

    def _hold_video_back(self, first_seq: int) -> None:
        """Video that was gone returns in the flush from ``first_seq``: not for who needs a keyframe."""
        for player in list(self._pictureless):
            self._take_out(player)
            player.seq = first_seq
            player.needs_keyframe_since = self._owner.now
            self._private.add(player)

    def _skip(self, player: Player) -> None:
        """Move a player that is too far behind to the newest keyframe, or else to the live end."""
        was_at, needed_since = player.seq, player.needs_keyframe_since
        player.seq = self._start_of(player)
        if player.seq <= was_at:
            player.seq = self.flushed_seq
            player.needs_keyframe_since = self._owner.now if self.log.has_video else None
        if player.needs_keyframe_since is not None and needed_since is not None:
            player.needs_keyframe_since = needed_since
        counters = self._owner.counters
        counters.player_skips += 1
        counters.player_messages_dropped += player.seq - was_at
        player.needs_headers = True

    def _close_slow(self, player: Player) -> None:
        connection = player.connection
        connection.session.send_status(
            player.stream_id, Level.ERROR, Code.PLAY_INSUFFICIENT_BANDWIDTH,
            f"closed: {self._slow_rule.close_s:g} s behind the live stream",
        )  # fmt: skip
        connection.end(CloseReason.SLOW_PLAYER, f"{self._slow_rule.close_s:g} s behind without catching up")

    def _take_out(self, player: Player) -> None:
        if player in self._in_step:
            del self._in_step[player]
        self._private.discard(player)
        self._behind.discard(player)
        self._awaiting.discard(player)
        self._pictureless.discard(player)

    # ---- what the log must keep --------------------------------------------------------------

    def _note_audience(self) -> None:
        had, self._has_audience = self._has_audience, bool(self.players) or self.wanted
        if self._has_audience and not had:
            self.flushed_seq = self.log.next_seq
        if self._has_audience != had:
            self._owner.audience_changed(self)
        self._note_kept()

    def _note_kept(self) -> None:
        self.log.unsent_from = self.flushed_seq if self._has_audience else _KEEP_NOTHING
        if not self._has_audience:
            self.log.keep_from = _KEEP_NOTHING
        elif self._behind:
            self.log.keep_from = min(self.flushed_seq, min(player.seq for player in self._behind))
        else:
            self.log.keep_from = self.flushed_seq
