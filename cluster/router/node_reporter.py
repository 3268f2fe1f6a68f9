"""What the workers of a node have reported, told to one router of the cluster: one message for them all."""

from __future__ import annotations

from collections.abc import Sequence

import zmq
from zmq.utils.monitor import parse_monitor_message

from cluster.bus.cluster_key import ClusterKey
from cluster.bus.sockets import REFUSALS, uplink_socket
from cluster.core.bus.bounds import HELLO_PART_BYTES
from cluster.core.bus.cluster_status import fitting
from cluster.core.bus.control import NodeReport
from cluster.core.bus.control_coding import encode
from cluster.core.bus.endpoints import Endpoints

#: Reports that may queue for a router. If it does not read, later ones are not sent.
_QUEUED = 2

_Context = zmq.Context[zmq.Socket[bytes]]


class NodeReporter:
    """The way to one router; for one thread.

    Reports are repeated for as long as there are streams. A router that may know of some is told once that
    there are none; over a new connection again, for it may have missed that.
    """

    def __init__(self, context: _Context, router: Endpoints, key: ClusterKey | None) -> None:
        self._context = context
        self._endpoint = router.control
        self._key = key
        #: The nodes that the router knows to have no streams.
        self._silent: set[str] = set()
        self._open()

    def look(self) -> None:
        """See what has happened to the connection. libzmq gives up one that is refused for good, and a
        router may be given another key: it is made anew."""
        is_refused = False
        while self._monitor.poll(0):
            event = parse_monitor_message(self._monitor.recv_multipart())["event"]
            is_refused = event != zmq.EVENT_HANDSHAKE_SUCCEEDED
            self._silent.clear()
        if is_refused:
            self.close()
            self._open()

    def tell(self, reports: Sequence[NodeReport] | None) -> None:
        """Send ``reports``; one that cannot be sent now is left out. None: there are none to be had, and
        the workers report by themselves."""
        if reports is None:
            self._silent.clear()
            return
        for report in reports:
            if not report.streams and report.node in self._silent:
                continue
            try:
                self._socket.send_multipart(encode(report), zmq.DONTWAIT)
            except zmq.Again:
                continue
            self._silent.discard(report.node)
            if not report.streams:
                self._silent.add(report.node)

    def close(self) -> None:
        self._socket.disable_monitor()
        self._monitor.close(0)
        self._socket.close(0)

    def _open(self) -> None:
        self._socket = uplink_socket(self._context, zmq.DEALER, _QUEUED, self._endpoint, self._key)
        self._monitor = self._socket.get_monitor_socket(zmq.EVENT_HANDSHAKE_SUCCEEDED | REFUSALS)
        self._socket.connect(self._endpoint)


def cut_to_fit(reports: Sequence[NodeReport]) -> list[NodeReport]:
    """``reports`` with as many streams each as fit into one message: more than 10,000."""
    return [NodeReport(each.node, fitting(each.streams, HELLO_PART_BYTES)) for each in reports]
