"""How long the media of each worker takes to a router: by the probes that workers send with it."""

from __future__ import annotations

from collections import OrderedDict, deque
from statistics import median

import zmq

from cluster.core.bus.cluster_status import UPLINK_S
from cluster.core.bus.control import ClusterStatus
from cluster.core.bus.probe import PROBE_TOPIC, ProbeError, decode_probe
from cluster.core.histogram import Histogram

_ENDPOINT = "inproc://probes"

#: Probes of a worker that count.
_REMEMBERED = 4
#: A worker that has sent none for so long publishes nothing now.
_FRESH_S = 10.0
#: Workers whose probes are remembered; of more, the one that was silent longest is forgotten.
MAX_PROBED_WORKERS = 10_000
#: Probes read in one go; more wait, and are dropped beyond the queue's bound.
_AT_ONCE = 256


class Probes:
    """What the registry's thread hears of the probes. Make it before the proxy has ``subscribe``."""

    def __init__(
        self, context: zmq.Context[zmq.Socket[bytes]], subscribe: zmq.Socket[bytes]
    ) -> None:
        self.delays = Histogram()
        self._crossed: OrderedDict[str, tuple[float, deque[float]]] = OrderedDict()
        subscribe.bind(_ENDPOINT)
        self.socket = context.socket(zmq.SUB)
        self.socket.linger = 0
        self.socket.connect(_ENDPOINT)
        self.socket.subscribe(PROBE_TOPIC)

    def read(self, now: float) -> None:
        """Take what has come."""
        for _ in range(_AT_ONCE):
            try:
                frame = self.socket.recv(zmq.DONTWAIT)
            except zmq.Again:
                return
            self.heard(frame, now)

    def heard(self, frame: bytes, now: float) -> None:
        """One probe, or what somebody else has sent in its place."""
        try:
            sender_id, sent_us = decode_probe(frame)
        except ProbeError:
            return
        crossed_s = max(0.0, now - sent_us / 1_000_000)
        self.delays.note(crossed_s)
        _, crossed = self._crossed.pop(sender_id, (now, deque(maxlen=_REMEMBERED)))
        crossed.append(crossed_s)
        self._crossed[sender_id] = now, crossed
        if len(self._crossed) > MAX_PROBED_WORKERS:
            self._crossed.popitem(last=False)

    def told(self, status: ClusterStatus, now: float) -> ClusterStatus:
        """``status``, with the delay of each worker that publishes through here among its load."""
        workers = []
        for row in status.workers:
            heard_at, crossed = self._crossed.get(row.worker_id, (0.0, deque()))
            if crossed and now - heard_at < _FRESH_S:
                row = row._replace(load={**row.load, UPLINK_S: round(median(crossed), 6)})
            workers.append(row)
        return ClusterStatus(workers, status.streams)

    def close(self) -> None:
        self.socket.close()
