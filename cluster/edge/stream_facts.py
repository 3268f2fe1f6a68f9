"""What a worker reports of its streams to the routers, for the cluster's status. It costs the path of
the media nothing: it is read off what the stream logs hold anyway."""

from __future__ import annotations

from collections.abc import Iterable

from cluster.core.bus.cluster_status import StreamFacts
from cluster.core.media.describe import describe
from cluster.edge.stream import Stream


class FactsReporter:
    """Makes the reports; a stream's rate is that since the report before, 0 in its first."""

    def __init__(self) -> None:
        self._before: dict[str, int] = {}
        self._before_at = 0.0

    def report(self, streams: Iterable[Stream], now: float) -> list[StreamFacts]:
        """One row for each stream that is published or played here."""
        rows: list[StreamFacts] = []
        appended: dict[str, int] = {}
        for stream in streams:
            if not stream.is_local:
                if stream.players:
                    rows.append(StreamFacts(stream.key, len(stream.players), "", 0))
                continue
            total = appended[stream.key] = stream.log.bytes_appended
            before = self._before.get(stream.key, total)
            rate = round((total - before) * 8 / (now - self._before_at))
            rows.append(StreamFacts(stream.key, len(stream.players), _codecs(stream), rate))
        self._before, self._before_at = appended, now
        return rows


def _codecs(stream: Stream) -> str:
    found = (describe(entry.type_id, entry.payload).codec for entry in stream.log.headers())
    return " ".join(dict.fromkeys(codec for codec in found if codec))
