"""Numbers of single streams for Prometheus."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import GaugeMetricFamily, Metric

from cluster.core.top_streams import MAX_SHOWN_STREAMS, StreamNumbers, TopStreams, both


def stream_families(prefix: str, top: TopStreams, *, with_delay: bool) -> Iterator[Metric]:
    """As Prometheus has them. All others together have no stream in their labels."""
    named: dict[str, StreamNumbers] = {}
    for row in top.shown:
        name = row.key.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
        named[name] = both(named.get(name), row)
    players = GaugeMetricFamily(
        f"{prefix}stream_players",
        f"Players of the {MAX_SHOWN_STREAMS} streams with most, and of all others together (no stream).",
        labels=["stream"],
    )
    rates = GaugeMetricFamily(
        f"{prefix}stream_bytes_per_second", "Bytes a second from the publishers of the same.",
        labels=["stream"],
    )  # fmt: skip
    for name, row in sorted(named.items()):
        players.add_metric([name], row.players)
        rates.add_metric([name], row.bytes_per_s)
    players.add_metric([""], top.other_players)
    rates.add_metric([""], top.other_bytes_per_s)
    yield players
    yield rates
    if with_delay:
        delays = GaugeMetricFamily(
            f"{prefix}stream_delay_seconds",
            "From the arrival at its origin to the sockets of the players here, at the slowest worker.",
            labels=["stream"],
        )
        for name, row in sorted(named.items()):
            if row.delay_s is not None:
                delays.add_metric([name], row.delay_s)
        yield delays
    help = "Streams that have no numbers of their own, at each worker that knows them."
    yield GaugeMetricFamily(f"{prefix}streams_unlisted", help, value=top.others)
