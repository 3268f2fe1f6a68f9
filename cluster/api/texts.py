"""Streams as JSON, put into words once for as long as nothing is new but what changes each second: of
hundreds of streams, to make that anew is most of what a page of them costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from cluster.api.details import Details
from cluster.api.round import Known
from cluster.api.streams import origin_row, rows_of, stream_of
from cluster.core.bus import json_text
from cluster.core.bus.cluster_status import StreamStatus
from cluster.core.bus.questions import StreamRow

#: Where that begins, in the JSON of a stream.
_CHANGING = ',"bits_per_second":'


class _Told(NamedTuple):
    """``rows``: of what workers have said. ``facts``: all of that, and of what routers know, that is in
    the text. ``end``: what changes as rarely as the rows."""

    rows: Mapping[str, StreamRow]
    facts: Any
    text: str
    end: str


class Texts:
    """The words of the streams that were asked about."""

    def __init__(self) -> None:
        self._told: dict[str, _Told] = {}

    def of(self, status: StreamStatus, rows: Mapping[str, StreamRow]) -> str:
        """One stream. ``rows``: what its workers say; the same object says the same of the same."""
        told = self._told.get(status.key)
        if told is None or told.rows is not rows:
            told = self._told[status.key] = _told(status, rows, told)
        return f'{told.text}{_CHANGING}{status.bits_per_second},"age_ms":{status.age_ms}{told.end}'

    def keep_only(self, streams: Mapping[str, StreamStatus]) -> None:
        """The other streams are over."""
        if len(self._told) > len(streams):
            self._told = {key: told for key, told in self._told.items() if key in streams}


def _told(status: StreamStatus, rows: Mapping[str, StreamRow], before: _Told | None) -> _Told:
    facts = (
        status.epoch, status.origin, status.codecs, status.players,
        [
            (worker_id, row.is_origin, row.session, row.peer, row.agent, row.tracks, row.fps, row.players)
            for worker_id, row in rows.items()
        ],
    )  # fmt: skip
    if before is not None and before.facts == facts:
        text = before.text
    else:
        text = json_text.write(stream_of(status, rows)).rpartition(_CHANGING)[0]
    origin = origin_row(status, rows)
    end = f',"keyframe_interval_ms":{origin.keyframe_interval_ms}'
    return _Told(rows, facts, text, f'{end},"received_bytes":{origin.received_bytes}}}')


async def stream_texts(
    known: Known, keys: Sequence[str], details: Details, texts: Texts
) -> tuple[list[str], list[str]]:
    """All that there is to say of these, and the workers that have not said what they know."""
    rows, unanswered = await rows_of(known, keys, details)
    texts.keep_only(known.streams)
    return [texts.of(known.streams[key], rows[key]) for key in keys], unanswered
