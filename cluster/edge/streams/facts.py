"""What a worker reports of its streams to the routers, for the cluster's status. It costs the path of
the media nothing: it is read off what the stream logs hold anyway."""

from __future__ import annotations

from collections.abc import Iterable

from cluster.core.bus.cluster_status import StreamFacts
from cluster.edge.streams.stream import Stream


class FactsReporter:
    """Makes the reports; a stream's rate is that since the report before, 0 in its first."""

    def __init__(self) -> None:
        self._before: dict[str, int] = {}
        self._before_at = 0.0

    def report(self, streams: Iterable[Stream], now: float) -> list[StreamFacts]:
        """One row for each stream that is published here, or published elsewhere and played here."""
        rows: list[StreamFacts] = []
        appended: dict[str, int] = {}
        for stream in streams:
            if stream.offline_since is not None and not stream.is_local:
                continue
            total = appended[stream.key] = stream.log.bytes_appended
            before = self._before.get(stream.key, total)
            if before > total:  # it has been forgotten meanwhile, and published anew
                before = total
            rate = stream.bits_per_second = round((total - before) * 8 / (now - self._before_at))
            if stream.is_local:
                codecs = stream.description().codecs
                rows.append(StreamFacts(stream.key, len(stream.readers), codecs, rate))
            elif stream.readers:
                rows.append(StreamFacts(stream.key, len(stream.readers), "", 0))
        self._before, self._before_at = appended, now
        return rows
