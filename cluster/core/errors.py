"""Whose fault it is, in the type; why a connection ended, in one name.

Every error the core raises is one of three kinds, so that a shell knows what to do without reading
messages: our own misuse (a bug here), the peer's violation (close that peer) and environment (report to
the operator).
"""

from __future__ import annotations

import enum


class CloseReason(enum.StrEnum):
    """The one named reason a connection ended: the same word in the log and in the metrics."""

    # The peer left.
    PEER_CLOSED = "peer_closed"
    PEER_RESET = "peer_reset"
    #: Its host has not answered, or let us send, for too long: TCP says so.
    PEER_LOST = "peer_lost"
    # The peer was silent for too long.
    HANDSHAKE_TIMEOUT = "handshake_timeout"
    IDLE_TIMEOUT = "idle_timeout"
    PING_TIMEOUT = "ping_timeout"
    # The peer broke the protocol.
    PROXY_HEADER = "proxy_header"
    NOT_TLS = "not_tls"
    TLS_FAILED = "tls_failed"
    NOT_RTMP = "not_rtmp"
    BAD_REQUEST = "bad_request"
    UNSUPPORTED_HANDSHAKE = "unsupported_handshake"
    BAD_CHUNK = "bad_chunk"
    BAD_CHUNK_SIZE = "bad_chunk_size"
    TOO_MANY_CHUNK_STREAMS = "too_many_chunk_streams"
    MESSAGE_TOO_LARGE = "message_too_large"
    PARTIAL_MESSAGES_TOO_LARGE = "partial_messages_too_large"
    BAD_CONTROL = "bad_control"
    BAD_AMF = "bad_amf"
    BAD_COMMAND = "bad_command"
    ILLEGAL_STATE = "illegal_state"
    # All is said.
    ANSWERED = "answered"
    STREAM_ENDED = "stream_ended"
    # We, or the operator's rules, ended it.
    CONNECT_REJECTED = "connect_rejected"
    LOGIN_ASKED = "login_asked"
    ACCESS_ENDED = "access_ended"
    PUBLISH_REFUSED = "publish_refused"
    PUBLISH_IDLE = "publish_idle"
    PUBLISHER_REPLACED = "publisher_replaced"
    PUBLISHER_BITRATE = "publisher_bitrate"
    PLAY_REFUSED = "play_refused"
    STREAM_NOT_FOUND = "stream_not_found"
    TOO_MUCH_WORK = "too_much_work"
    SLOW_PLAYER = "slow_player"
    SLOW_PEER = "slow_peer"
    TOO_MANY_CONNECTIONS = "too_many_connections"
    WORKER_MEMORY = "worker_memory"
    TOO_MANY_FROM_ADDRESS = "too_many_from_address"
    TOO_MANY_PLAYERS = "too_many_players"
    TOO_MANY_OF_KEY = "too_many_of_key"
    TOO_MANY_PUBLISHERS = "too_many_publishers"
    NO_BANDWIDTH = "no_bandwidth"
    HALF_OPEN_EVICTED = "half_open_evicted"
    DRAINED = "drained"
    KICKED = "kicked"
    INTERNAL_ERROR = "internal_error"


def lost_by(error: OSError) -> CloseReason:
    """The reason for which a connection ends whose socket has failed with ``error``."""
    return CloseReason.PEER_LOST if isinstance(error, TimeoutError) else CloseReason.PEER_RESET


class ClusterError(Exception):
    """Base of every error that the cluster's own code raises."""


class MisuseError(ClusterError):
    """Our own code called another piece of it wrongly: a bug here, never a peer's doing."""


class PeerViolation(ClusterError):
    """The peer broke the protocol; its connection ends with ``reason``.

    ``detail`` is for the log: what was seen and what was expected, without the peer's secrets.
    """

    def __init__(self, reason: CloseReason, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class AmfError(PeerViolation):
    """Bytes that are not AMF, or exceed the depth or count an AMF value may have."""

    def __init__(self, detail: str) -> None:
        super().__init__(CloseReason.BAD_AMF, detail)


class EnvironmentFault(ClusterError):
    """The host does not give what is needed (a port, a file); the text says what to do."""
