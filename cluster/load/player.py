"""A player of the generator. Most only drop what they get; a sample reads and checks every message."""

from __future__ import annotations

import mmap
import select
import socket
import time
from collections.abc import Callable

from cluster.core.media.classify import MediaFlags, flags_of, is_coded
from cluster.core.message import Message, MessageType
from cluster.load import synthetic
from cluster.load.media import MAGIC_AT
from cluster.load.peer import CLOSED, WOULD_BLOCK, Common, Conversation, Peer, State
from cluster.load.tally import Role

#: A player that gets nothing for this long has stalled: about what a viewer notices.
STALL_NS = 1_000_000_000
#: Servers ask for an acknowledgement each 2.5 MB or more, and may close a peer that gives none. Half of
#: that is usual.
_ACKNOWLEDGE_BYTES = 1_250_000
#: How often an acknowledgement goes out whatever came.
_ACKNOWLEDGE_NS = 10_000_000_000
#: Some servers (MediaMTX) refuse to play a stream whose codecs they do not know yet, for a second or two
#: after its publisher began. Players try again, as they do in life: how often, and for how long.
RETRY_EVERY_NS = 250_000_000
RETRY_FOR_NS = 5_000_000_000
#: A player waits for a keyframe no longer than this before it stops reading what it gets.
_KEYFRAME_NS = 10_000_000_000
#: Takes a group of pictures at once, so that a player that is looked at by a timer has room for it.
_PLAIN_BUFFER_BYTES = 1024 * 1024
#: Small, so that the server feels at once that a slow player does not read.
_SLOW_BUFFER_BYTES = 32 * 1024
#: A slow player reads when it may read this much, rather than a few bytes at each turn.
_SLOW_READ_BYTES = 4096

#: Never written to, and so without memory: MSG_TRUNC makes Linux drop TCP's bytes instead of copying them.
_NOWHERE = mmap.mmap(-1, 4 * 1024 * 1024)


class Player(Peer):
    """``sampled``: it parses all it gets. Otherwise it only drops bytes once it has seen a keyframe: when
    the loop tells of some, or with ``by_timer`` when ``drain`` is called, and the loop leaves it alone.

    ``slow_bytes_per_s`` other than 0: it takes no more than that. ``media_starts_ns`` is, by message
    type, when its stream's timestamp 0 is sent, if the messages carry no stamps. Refused before
    ``retry_until_ns``, it tries again, with a dialogue that ``converse`` makes anew.
    """

    __slots__ = (
        "_acknowledge_at", "_acknowledged_ns", "_by_timer", "_bytes", "_converse", "_expected", "_heard_ns",
        "_joined_ns", "_keyframe_seen", "_media_starts_ns", "_noted_ns", "_parsing", "_read_ns",
        "_retry_until_ns", "_sampled", "_slow_bytes_per_s", "_stalled",
    )  # fmt: skip

    def __init__(
        self, common: Common, converse: Callable[[], Conversation], *, sampled: bool, by_timer: bool,
        slow_bytes_per_s: float, media_starts_ns: dict[int, int] | None, retry_until_ns: int = 0,
    ) -> None:  # fmt: skip
        super().__init__(common, Role.SLOW_PLAYER if slow_bytes_per_s else Role.PLAYER, converse())
        self._converse = converse
        self._retry_until_ns = min(retry_until_ns, self.started_ns + RETRY_FOR_NS)
        self._sampled = sampled
        self._by_timer = by_timer
        self._slow_bytes_per_s = slow_bytes_per_s
        self._media_starts_ns = media_starts_ns
        self._parsing = True
        self._keyframe_seen = False
        self._bytes = 0
        self._acknowledge_at = _ACKNOWLEDGE_BYTES
        self._acknowledged_ns = self.started_ns
        self._joined_ns = 0
        #: When bytes came last, when media did, and up to when silence has been counted.
        self._read_ns = self._heard_ns = self._noted_ns = 0
        self._stalled = False
        #: The sequence number that comes next, by message type.
        self._expected: dict[int, int] = {}

    def _prepare(self, sock: socket.socket) -> None:
        if self.role is Role.SLOW_PLAYER:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _SLOW_BUFFER_BYTES)
        elif self._by_timer and not self._sampled:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _PLAIN_BUFFER_BYTES)

    # Trying again.

    def close(self, reason: str | None) -> None:
        now_ns = time.monotonic_ns()
        refused = reason is not None and self.state is State.TALKING and self._dialogue.asked
        if not refused or now_ns + RETRY_EVERY_NS >= self._retry_until_ns:
            super().close(reason)
            return
        super().close(None)
        self.state = State.WAITING
        self._common.tally.tries_again += 1
        self._common.loop.call_at(now_ns + RETRY_EVERY_NS, self._try_again)

    def _try_again(self, due_ns: int, now_ns: int) -> None:
        if self.state is State.WAITING:
            self._begin(self._converse())
            self._bytes = 0
            self._acknowledge_at = _ACKNOWLEDGE_BYTES
            self._acknowledged_ns = self.started_ns
            self.connect()

    # Reading.

    def _read(self) -> None:
        if self._parsing:
            super()._read()
        else:
            self._drop(len(_NOWHERE))

    def _receive(self) -> int:
        count = super()._receive()
        self._came(count, time.monotonic_ns())
        return count

    def drain(self, now_ns: int) -> None:
        """Drop what has come; called now and then, if this player is drained by a timer."""
        if self._parsing or self.state is not State.FLOWING:
            return
        limit = len(_NOWHERE)
        if self._slow_bytes_per_s:
            limit = int((now_ns - self._read_ns) * self._slow_bytes_per_s / 1e9)
            if limit < _SLOW_READ_BYTES:
                return
        try:
            self._drop(limit)
        except WOULD_BLOCK:
            pass
        except OSError:
            self.on_event(select.EPOLLIN)  # where errors are told apart

    def _drop(self, limit: int) -> None:
        """Take up to ``limit`` bytes without looking at them."""
        sock = self._sock
        assert sock is not None
        if self._target.tls is None:
            count = sock.recv_into(_NOWHERE, limit, socket.MSG_TRUNC)
        else:
            count = self._drop_encrypted(sock, limit)
        if count:
            self._came(count, time.monotonic_ns())
        else:
            self.close(CLOSED)

    def _drop_encrypted(self, sock: socket.socket, limit: int) -> int:
        """Record by record, as one read yields no more; 0 at the end of the stream."""
        buffer = self._common.buffer
        total = 0
        try:
            while total < limit and (count := sock.recv_into(buffer, min(limit - total, len(buffer)))):
                total += count
        except WOULD_BLOCK:
            if not total:
                raise
        return total

    def _came(self, count: int, now_ns: int) -> None:
        tally = self._common.tally
        self._bytes += count
        if self._slow_bytes_per_s:
            tally.slow_received_bytes += count
        else:
            tally.received_bytes += count
        self._read_ns = now_ns
        self._hear(now_ns)
        if self._bytes >= self._acknowledge_at and not self._parsing:
            self._acknowledge(now_ns)

    def _hear(self, now_ns: int) -> None:
        """Media came: a stall, if there was one, is over."""
        if not self._slow_bytes_per_s and now_ns - self._heard_ns > STALL_NS:
            self._note_silence(now_ns)
            self._stalled = False
        self._heard_ns = now_ns

    # Once a second.

    def check(self, now_ns: int) -> None:
        """Notice a stall that goes on, and acknowledge what came since long ago."""
        if self.state is not State.FLOWING:
            return
        if not self._slow_bytes_per_s and now_ns - self._heard_ns > STALL_NS:
            self._note_silence(now_ns)
        if not self._parsing and now_ns - self._acknowledged_ns > _ACKNOWLEDGE_NS:
            self._acknowledge(now_ns)

    def _note_silence(self, now_ns: int) -> None:
        if self.state is not State.FLOWING:
            return
        tally = self._common.tally
        if not self._stalled:
            self._stalled = True
            self._noted_ns = self._heard_ns
            tally.stalls += 1
        tally.stalled_ns += now_ns - self._noted_ns
        self._noted_ns = now_ns

    def _acknowledge(self, now_ns: int) -> None:
        self._acknowledge_at = self._bytes + _ACKNOWLEDGE_BYTES
        self._acknowledged_ns = now_ns
        self.send(self._dialogue.keep_alive(self._bytes, now_ns))

    # What is in it.

    def _media(self, messages: list[Message]) -> None:
        now_ns = self._read_ns
        for message in messages:
            if not self._keyframe_seen:
                self._look_for_the_beginning(message, now_ns)
            if self._sampled and self._joined_ns:
                self._sample(message, now_ns)
        late = self._joined_ns and now_ns - self._joined_ns > _KEYFRAME_NS
        if (self._keyframe_seen or late) and not self._sampled and self.state is State.FLOWING:
            self._stop_parsing()

    def _stop_parsing(self) -> None:
        self._parsing = False
        if self._by_timer:
            self._reads = False
            self._watch()

    def _look_for_the_beginning(self, message: Message, now_ns: int) -> None:
        if not is_coded(message):
            return
        tally = self._common.tally
        if not self._joined_ns:
            self._joined_ns = now_ns
            self._heard_ns = now_ns
            self.state = State.FLOWING
            tally.join.record(now_ns - self.started_ns)
        flags = flags_of(message.type_id, message.payload)
        if flags & MediaFlags.KEYFRAME and flags & MediaFlags.VIDEO:
            self._keyframe_seen = True
            tally.picture.record(now_ns - self.started_ns)

    def _sample(self, message: Message, now_ns: int) -> None:
        """Count one message's delay, and whether one before it is missing."""
        magic_at = MAGIC_AT.get(message.type_id)
        if magic_at is None:
            return
        tally = self._common.tally
        if self._media_starts_ns is not None:
            if not is_coded(message):
                return
            sent_ns = self._media_starts_ns[message.type_id] + message.timestamp * 1_000_000
        elif (stamp := synthetic.read_stamp(message.payload, magic_at)) is not None:
            sequence, sent_ns = stamp
            expected = self._expected.get(message.type_id, sequence)
            self._expected[message.type_id] = max(expected, sequence + 1)
            tally.frames_lost += max(0, sequence - expected)
            tally.frames_out_of_order += sequence < expected
        else:
            return
        tally.frames += 1
        if sent_ns >= self._joined_ns:  # what came before is the server's backlog, not delay
            is_audio = message.type_id == MessageType.AUDIO
            (tally.audio_delay if is_audio else tally.video_delay).record(now_ns - sent_ns)
