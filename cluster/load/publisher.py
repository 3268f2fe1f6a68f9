"""A publisher of the generator: sends each message of its script at the message's own moment."""

from __future__ import annotations

from cluster.core.message import Message, MessageType
from cluster.load.dialogue import Dialogue
from cluster.load.media import Script
from cluster.load.peer import Common, Peer, State
from cluster.load.tally import Role

_AUDIO = int(MessageType.AUDIO)


class Publisher(Peer):
    """``granted`` once the server lets it publish; then ``begin`` gives it what to send, and when.

    ``index`` is its place among the publishers of all processes.
    """

    __slots__ = ("_audio_sent", "_cycle_ns", "_position", "_script", "_start_ns", "_video_sent", "index")

    _dialogue: Dialogue

    def __init__(self, common: Common, dialogue: Dialogue, index: int) -> None:
        super().__init__(common, Role.PUBLISHER, dialogue)
        self.index = index
        self._script: Script | None = None
        self._start_ns = 0
        self._cycle_ns = 0
        self._position = 0
        self._video_sent = 0
        self._audio_sent = 0

    @property
    def granted(self) -> bool:
        return self.state is State.TALKING and self._dialogue.ready

    @property
    def stream_id(self) -> int:
        """The message stream that the server gave it."""
        return self._dialogue.stream_id

    def begin(self, script: Script, start_ns: int) -> None:
        """Send the script from that moment on, over and over."""
        self._script = script
        self._start_ns = start_ns
        self._common.loop.call_at(start_ns, self._send_due)

    def _send_due(self, due_ns: int, now_ns: int) -> int | None:
        """Send one message; when the next is due."""
        script = self._script
        if self.state is State.CLOSED or script is None:
            return None
        if self.state is State.TALKING:
            self.state = State.FLOWING
            self.send(script.preamble)
        template = script.templates[self._position]
        if template.type_id == _AUDIO:
            sequence = self._audio_sent
            self._audio_sent += 1
        else:
            sequence = self._video_sent
            self._video_sent += 1
        timestamp_ms = self._cycle_ns // 1_000_000 + template.timestamp_ms
        data = template.stamped(timestamp_ms, sequence, now_ns)
        tally = self._common.tally
        tally.late.record(now_ns - due_ns)
        tally.sent_messages += 1
        tally.sent_bytes += len(data)
        self.send(data)
        self._position += 1
        if self._position == len(script.templates):
            self._position = 0
            self._cycle_ns += script.period_ns
        return self._start_ns + self._cycle_ns + script.templates[self._position].offset_ns

    def _media(self, messages: list[Message]) -> None:
        """A server sends none to a publisher."""
