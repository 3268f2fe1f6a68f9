"""What happens to the streams of a worker, told as events to the process that delivers them.

Each event is told once, whatever the number of workers that know: a publish by the worker whose publisher
it is, a play by the worker of the player.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from cluster.core.bus.identity import WorkerIdentity
from cluster.edge.events.worker_line import LossCount, WorkerLine
from cluster.edge.streams.events import StreamEvents
from cluster.edge.streams.interfaces import Publisher
from cluster.edge.streams.reader import Reader
from cluster.edge.streams.streams import Streams
from cluster.process.words import printable

#: How long a worker that ends waits until its last events have arrived.
_LAST_EVENTS_S = 0.5

#: Of what a log line says of a peer: what an event says too, under which name.
_FACTS = {"id": "session", "peer": "peer", "protocol": "protocol", "user": "user", "agent": "agent"}


class _Session(NamedTuple):
    """``number`` is that of the event that began it; ``bytes_before``: what its stream had been sent."""

    number: int
    key: str
    data: dict[str, Any]
    began_at: float
    bytes_before: int


class EventTeller(StreamEvents):
    """A listener to the streams of one worker; ``path``: where the delivering process listens."""

    def __init__(
        self, path: str, streams: Streams, identity: WorkerIdentity, counters: LossCount
    ) -> None:
        self._streams = streams
        self._where = {"node": identity.node, "worker": identity.slot}
        self._sessions: dict[object, _Session] = {}
        worker = f"{identity.instance}-{identity.slot}.{identity.incarnation}"
        who = {"worker": worker, "instance": identity.instance}
        self._line = WorkerLine(path, who, counters, self._numbers)
        self._line.start()

    async def close(self) -> None:
        """The worker ends, and every session has."""
        await self._line.close(_LAST_EVENTS_S)

    # ---- what happens ------------------------------------------------------------------------

    def publish_started(self, key: str, publisher: Publisher) -> None:
        stream = self._streams.by_key[key]
        data = {"epoch": stream.epoch, **self._where, **_shown(publisher.facts)}
        self._begin("stream.published", key, publisher, data)

    def publish_ended(self, key: str, publisher: Publisher) -> None:
        self._end("stream.unpublished", publisher, publisher.facts)

    def play_started(self, key: str, reader: Reader) -> None:
        self._begin("play.started", key, reader, {**self._where, **_shown(reader.sink.facts)})

    def play_ended(self, key: str, reader: Reader) -> None:
        self._end("play.stopped", reader, reader.sink.facts)

    def _begin(self, type: str, key: str, who: object, data: dict[str, Any]) -> None:
        number = self._line.tell(type, key, data, opens=True)
        self._sessions[who] = _Session(number, key, data, self._streams.now, self._bytes(key))

    def _end(self, type: str, who: object, facts: Mapping[str, object]) -> None:
        session = self._sessions.pop(who, None)
        if session is None:
            return
        seconds = round(self._streams.now - session.began_at, 3)
        data = {**session.data, "reason": facts.get("reason", "stopped"), "seconds": seconds}
        if type == "stream.unpublished":
            data["bytes"] = self._bytes(session.key) - session.bytes_before
        self._line.tell(type, session.key, data, closes=session.number)

    def _bytes(self, key: str) -> int:
        """Of the media that the stream has been sent, since this worker knows it."""
        return self._streams.by_key[key].log.bytes_appended

    def _numbers(self) -> list[int]:
        return [session.number for session in self._sessions.values()]


def _shown(facts: Mapping[str, object]) -> dict[str, Any]:
    """What a peer calls itself need not be text: a receiver that can read or store no such event would be
    told of it for a day, and of nothing else of that stream."""
    return {name: printable(str(facts[fact])) for fact, name in _FACTS.items() if fact in facts}
