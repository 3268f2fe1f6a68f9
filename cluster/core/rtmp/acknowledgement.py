"""When to acknowledge, and how large a window to announce (RTMP 1.0, sections 5.4.3 to 5.4.5).

Counters have 64 bits inside; the wire carries the low 32 and is compared modulo 2**32. Acknowledgements
are bookkeeping only: many peers never send one, so nothing here may stop or close a connection.
"""

from __future__ import annotations

from cluster.core.rtmp.control import MAX_U32, PeerBandwidthLimit, SetPeerBandwidth

#: A peer that announces a smaller window would have us answer each of its packets.
MIN_WINDOW_BYTES = 4096
#: Higher than a 64-bit byte counter gets: no acknowledgement is due.
NEVER = 1 << 64


class Acknowledger:
    """Both directions of one connection's acknowledgements.

    ``due_at`` is the count of received bytes at which the next acknowledgement is due (``NEVER`` until
    the peer has announced a window), so that the hot path compares two ints.
    """

    __slots__ = ("_last_sent", "_peer_limit", "_window", "due_at", "peer_acknowledged", "sent_window")

    def __init__(self) -> None:
        self.due_at = NEVER
        #: The window we announced last; 0: none yet.
        self.sent_window = 0
        #: Bytes of ours the peer has acknowledged, 64 bits; None: it never acknowledged any.
        self.peer_acknowledged: int | None = None
        self._window = 0
        self._last_sent = 0
        self._peer_limit: PeerBandwidthLimit | None = None

    def set_window(self, window_bytes: int) -> None:
        """The peer's Window Acknowledgement Size; 0 ends the duty to acknowledge."""
        self._window = max(window_bytes, MIN_WINDOW_BYTES) if window_bytes else 0
        self._plan()

    def acknowledge(self, bytes_received: int) -> int:
        """Note that ``bytes_received`` is acknowledged now; returns it for the message."""
        self._last_sent = bytes_received
        self._plan()
        return bytes_received

    def _plan(self) -> None:
        # Half a window, as SRS and FFmpeg: the sender never sees its window run out.
        self.due_at = self._last_sent + self._window // 2 if self._window else NEVER

    def peer_bandwidth(self, request: SetPeerBandwidth) -> int | None:
        """The window to announce in answer to a Set Peer Bandwidth; None: no change (section 5.4.5)."""
        window_bytes, limit = request
        if limit is PeerBandwidthLimit.DYNAMIC:
            if self._peer_limit is not PeerBandwidthLimit.HARD:
                return None
            limit = PeerBandwidthLimit.HARD
        self._peer_limit = limit
        if limit is PeerBandwidthLimit.SOFT and self.sent_window:
            window_bytes = min(window_bytes, self.sent_window)
        if window_bytes == self.sent_window:
            return None
        return window_bytes

    def peer_acknowledgement(self, low_bits: int) -> None:
        """A received Acknowledgement. Values that jump back are peers that restart their count: ignored."""
        if self.peer_acknowledged is None:
            self.peer_acknowledged = low_bits
            return
        step = (low_bits - self.peer_acknowledged) & MAX_U32
        if step < 1 << 31:
            self.peer_acknowledged += step
