"""The client role on asyncio: connect to an RTMP server, publish, play and call. See docs/client.md."""

from cluster.client.backoff import Backoff
from cluster.client.connecting import ConnectOptions, connect
from cluster.client.connection import Connection
from cluster.client.errors import (
    CallError,
    ConnectionClosed,
    ConnectRejected,
    PlayFailed,
    PublishRefused,
    RtmpError,
    SharedObjectRefused,
    StatusError,
    Timeout,
    Unreachable,
)
from cluster.client.flv_sink import FlvSink
from cluster.client.flv_source import FlvSource
from cluster.client.playback import Playback
from cluster.client.publication import Publication
from cluster.client.reconnecting import reconnecting
from cluster.client.reconnecting_playback import ReconnectingPlayback
from cluster.client.reconnecting_publication import ReconnectingPublication
from cluster.client.shared_object import SharedObject
from cluster.core.errors import ClusterError
from cluster.net.tls_client import Tls

__all__ = [
    "Backoff",
    "CallError",
    "ClusterError",
    "ConnectOptions",
    "ConnectRejected",
    "Connection",
    "ConnectionClosed",
    "FlvSink",
    "FlvSource",
    "PlayFailed",
    "Playback",
    "Publication",
    "PublishRefused",
    "ReconnectingPlayback",
    "ReconnectingPublication",
    "RtmpError",
    "SharedObject",
    "SharedObjectRefused",
    "StatusError",
    "Timeout",
    "Tls",
    "Unreachable",
    "connect",
    "reconnecting",
]
