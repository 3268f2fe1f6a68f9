"""What a worker tells of the way of one stream (``core/bus/trace.py``): all of it is there anyway."""

from __future__ import annotations

from itertools import islice
from statistics import median

from cluster.core.bus.trace import RouterWay, TraceRow
from cluster.edge.link.link import Link
from cluster.edge.link.peer import RouterPeer
from cluster.edge.streams.stream import Stream
from cluster.edge.streams.streams import Streams
from cluster.net import tcp_info

#: Players of a stream whose connections are looked at: a look takes a microsecond, and most are alike.
_PLAYERS_LOOKED_AT = 32


class Tracing:
    """The streams of one worker, and the link they come and go by."""

    def __init__(self, streams: Streams, link: Link) -> None:
        self._streams = streams
        self._link = link

    def row(self, key: str) -> TraceRow:
        """What there is to say of ``key``."""
        stream = self._streams.by_key.get(key)
        if stream is None or stream.offline_since is not None:
            return TraceRow()
        hops = stream.passage.hops()
        origin_ms, bus_ms, sockets_ms = (0.0,) * 3 if hops is None else (_ms(each) for each in hops)
        feed = self._streams.publishing.feed(key)
        source = None if stream.is_local else self._link.watches.feed(key)
        behind = stream.readers.behind
        return TraceRow(
            True, stream.epoch, stream.is_local, stream.bits_per_second, stream.passage.looks,
            origin_ms, bus_ms, sockets_ms,
            "" if feed is None else feed.publisher.name,
            0.0 if feed is None else _ms(feed.publisher.round_trip_s),
            0 if feed is None else feed.dropped,
            "" if source is None else source.name, stream.lost_messages,
            len(stream.readers), len(behind),
            max((stream.log.lag_ms(each.seq) for each in list(behind)[:_PLAYERS_LOOKED_AT]), default=0),
            stream.readers.dropped, _players_round_trip_ms(stream), self._ways(),
        )  # fmt: skip

    def _ways(self) -> tuple[RouterWay, ...]:
        routers = self._link.routers
        return tuple(self._way(peer, is_own=peer is routers.own) for peer in routers.all())

    def _way(self, peer: RouterPeer, *, is_own: bool) -> RouterWay:
        ahead_s = peer.wall_offset_s
        return RouterWay(
            peer.name, is_own, peer.is_live, _ms(peer.round_trip_s),
            None if ahead_s is None else _ms(ahead_s), self._link.output.dropped(peer.name),
        )  # fmt: skip


def _players_round_trip_ms(stream: Stream) -> float:
    """The median of some; 0 if it is not known of any."""
    # A sink's ``send`` is its socket's own.
    sockets = (getattr(each.sink.send, "__self__", None) for each in stream.readers)
    known = [tcp_info.round_trip_s(each) for each in islice(sockets, _PLAYERS_LOOKED_AT)]
    return _ms(median([each for each in known if each] or [0.0]))


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 3)
