"""What one worker counts: each number is declared here once, with what it means.

The worker's code adds to plain attributes; the supervisor collects them with each beat, and their
Prometheus names follow from the declarations (``metrics.py``).
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

Kind = Literal["counter", "gauge"]


class Declaration(NamedTuple):
    """A counter only grows; a gauge is what it is now. With a ``label`` it is one for each value."""

    kind: Kind
    help: str
    label: str = ""


def _counter(help: str) -> Any:
    return field(default=0, metadata={"declaration": Declaration("counter", help)})


def _gauge(help: str) -> Any:
    return field(default=0, metadata={"declaration": Declaration("gauge", help)})


def _by(label: str, help: str, kind: Kind = "counter") -> Any:
    return field(default_factory=dict, metadata={"declaration": Declaration(kind, help, label)})


@dataclass(slots=True, eq=False)
class Counters:
    """The numbers of one worker since it started."""

    connections_accepted: int = _counter("RTMP connections accepted.")
    connections: int = _gauge("RTMP connections open now.")
    connections_half_open: int = _gauge(
        "Connections, RTMP and HTTP, that have neither published nor played yet."
    )
    publishes_idle: int = _counter("Publishes ended because no media came for --publish-idle.")
    publishers: int = _gauge("Publishers on this worker now.")
    publishers_unheard: int = _gauge(
        "Connections of publishers that nobody plays, here or elsewhere. They are read twice a second, so "
        "their pings, commands and acknowledgements wait half a second at most."
    )
    players: int = _gauge("Players on this worker now.")
    streams: int = _gauge("Streams this worker knows now, published here or played here.")
    streams_waiting: int = _gauge("Of these, the streams that players wait for and nobody publishes.")
    streams_dismissed: int = _counter(
        "Streams whose waiting players were told that nobody publishes before their time was up: too many "
        "streams were waited for."
    )
    stream_bytes: int = _gauge("Memory that the logs and unfinished messages of streams take now.")
    logs_cut: int = _counter(
        "Times the log of a stream was cut because the streams of a worker took more than --worker-bytes."
    )
    latency_budget_seconds: float = _gauge("How long media may wait now, so that more is served at once.")
    bytes_received: int = _counter("Bytes read from RTMP and HTTP connections.")
    bytes_sent: int = _counter("Bytes written to RTMP and HTTP connections.")
    reads_paced: int = _counter(
        "Times the reading of a connection was put off: it had sent more chunks or messages than it may."
    )
    joins_paced: int = _counter(
        "Requests to play or publish that had to wait: their address had sent too many."
    )
    messages_received: int = _counter("Media messages received from publishers.")
    messages_ignored: int = _counter("RTMP messages received that this server has no use for.")
    aggregates_truncated: int = _counter("Aggregate messages received whose end was missing.")
    publisher_messages_dropped: int = _counter(
        "Messages of publishers not passed on: video before a keyframe, or too many before a grant."
    )
    writes: int = _counter("Write calls on RTMP and HTTP connections.")
    player_messages_dropped: int = _counter("Messages that slow players were not sent.")
    player_video_held_back: int = _counter(
        "Video messages that players were not sent because they needed a keyframe to begin with."
    )
    player_skips: int = _counter("Times a slow player was moved to a newer place in its stream.")
    shared_objects_refused: int = _counter(
        "Uses, changes and calls of shared objects refused because of a limit on them."
    )
    hls_streams: int = _gauge("Streams of which this worker makes HLS now.")
    hls_waiting: int = _gauge("HLS requests that wait now for what is to come.")
    hls_bytes: int = _gauge("Memory that the segments of all streams take now.")
    hls_segments_dropped: int = _counter(
        "HLS segments forgotten before their time, for want of room, or begun and not finished because "
        "messages were missing."
    )
    routers: int = _gauge("Routers of the cluster that this worker should have a link to.")
    routers_live: int = _gauge("Routers of the cluster that answer this worker now.")
    bus_envelopes_sent: int = _counter("Envelopes handed to the routers.")
    bus_messages_sent: int = _counter("Media messages in those envelopes.")
    bus_bytes_sent: int = _counter("Bytes of those envelopes.")
    bus_envelopes_received: int = _counter("Envelopes received from the routers.")
    bus_messages_received: int = _counter("Media messages in those envelopes.")
    bus_bytes_received: int = _counter("Bytes of those envelopes.")
    bus_envelopes_dropped: int = _counter("Envelopes not sent because the queue to a router was full.")
    bus_malformed: int = _counter("Envelopes and control messages received that could not be read.")
    bus_epochs_refused: int = _counter(
        "Grants, origins, envelopes and snapshots ignored: their epoch is over a day ahead of this clock."
    )
    bus_topics_untold: int = _counter(
        "Subscriptions of others not remembered, because there are too many: all streams are packed then."
    )
    watches_refused: int = _counter(
        "Streams of other workers that players waited for and that were not watched: there were too many."
    )
    bus_gaps: int = _counter("Gaps seen in the sequence numbers of streams from other workers.")
    snapshots_sent: int = _counter("Snapshots of streams sent to other workers.")
    snapshots_received: int = _counter("Snapshots of streams received from other workers.")
    events_lost: int = _counter(
        "Events that nobody will be told of, for want of room: at a worker, whose line to the process that "
        "delivers them is full, or in its queue (--events-kept)."
    )
    log_lines_lost: int = _counter("Lines of the log that could not be written in time, and are missing.")
    process_cpu_seconds: float = _counter(
        "CPU time that the process has used, user and system, in seconds."
    )
    process_memory_bytes: int = _gauge("Resident memory of the process.")
    access_denied: dict[str, int] = _by(
        "reason", "Requests to publish or play that were refused by the rules, or by whoever they ask."
    )
    hook_answers: dict[str, int] = _by(
        "outcome", "Questions whether somebody may publish or play, put to the program named in [hooks]."
    )
    hook_answers_cached: int = _counter("Such questions that were not asked: the answer was known.")
    hook_wait_seconds: float = _counter("How long those who asked waited for the answers, in all.")
    hook_waiting: int = _gauge("Such questions that have no answer now.")
    turned_away: dict[str, int] = _by(
        "reason",
        "Requests to play or publish that were refused, and publishes that were ended, because of a limit.",
    )
    counts_lost: int = _counter(
        "Times a worker had no place to tell the others of its node what it counts for a limit."
    )
    closes: dict[str, int] = _by("reason", "RTMP connections ended, by their one named reason.")
    http_connections_accepted: int = _counter("HTTP connections accepted.")
    http_connections: int = _gauge("HTTP connections open now.")
    http_players: dict[str, int] = _by(
        "kind", "Of the players on this worker now, those that play over HTTP.", "gauge"
    )
    http_requests: dict[str, int] = _by("status", "HTTP requests answered, by the status of the answer.")
    http_closes: dict[str, int] = _by(
        "reason", "HTTP connections ended, and players on streams of HTTP/2, by their one named reason."
    )

    def as_dict(self) -> dict[str, Any]:
        """A copy by attribute name: what a beat carries."""
        shown = {name: getattr(self, name) for name in DECLARATIONS}
        for name, declared in DECLARATIONS.items():
            if declared.label:
                shown[name] = dict(shown[name])
        return shown


#: Every number by attribute name.
DECLARATIONS: dict[str, Declaration] = {
    each.name: each.metadata["declaration"] for each in dataclasses.fields(Counters)
}
