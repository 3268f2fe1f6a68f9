"""What a program that embeds the server decides and hears.

Subclass ``ServerHandler`` and override what matters: every method has a default that lets everything
happen. Decisions are coroutines, because they may ask a database; what is merely heard is a plain call
from the event loop and must not block.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from cluster.core.amf.values import AmfValue
from cluster.core.errors import CloseReason
from cluster.core.message import Message
from cluster.core.rtmp.command import Command
from cluster.core.rtmp.events import ConnectRequested, PlayRequested, PublishRequested


@dataclass(frozen=True, slots=True)
class Reject:
    """The answer no. ``code`` and ``description`` are what the peer is told, then it is closed.

    ``redirect``: of a connect only, the tcUrl the peer should go to instead.
    """

    description: str
    code: str = ""
    redirect: str | None = None


class Peer(Protocol):
    """The connection a call is about; the same object in every call for it."""

    @property
    def peer(self) -> str:
        """The peer's address, ``host:port``."""

    def call(self, name: str, *args: AmfValue) -> None:
        """Send the peer a command that expects no answer."""

    def end(self, reason: CloseReason, detail: str) -> None:
        """Close the connection once what has been said to it is read."""


class ServerHandler:
    """Decisions return None to let the peer go on, or a ``Reject``.

    An exception in a decision rejects, and is logged: a program that cannot decide must not let in.
    """

    async def on_connect(self, peer: Peer, request: ConnectRequested) -> Reject | None:
        """A peer has connected and names its app (RTMP 1.0, section 7.2.1.1)."""
        return None

    async def on_publish(self, peer: Peer, key: str, request: PublishRequested) -> Reject | None:
        """A peer wants to publish the stream ``key``; ``request.query`` holds what follows its name."""
        return None

    async def on_play(self, peer: Peer, key: str, request: PlayRequested) -> Reject | None:
        """A peer wants to play the stream ``key``."""
        return None

    def on_stream_created(self, peer: Peer, stream_id: int) -> None:
        """A message stream was created (section 7.2.1.3)."""

    def on_stream_closed(self, peer: Peer, stream_id: int) -> None:
        """A message stream was deleted."""

    def on_publish_started(self, peer: Peer, key: str) -> None:
        """The publish was granted; its messages follow."""

    def on_publish_ended(self, peer: Peer, key: str) -> None:
        """The publisher stopped, left, or was replaced."""

    def on_play_started(self, peer: Peer, key: str) -> None:
        """The player was let in; it may still wait for a publisher."""

    def on_play_ended(self, peer: Peer, key: str) -> None:
        """The player stopped or left."""

    def on_message(self, key: str, message: Message) -> None:
        """A message of a publisher: audio, video, or data (AMF0, without ``@setDataFrame``)."""

    def on_receive_audio(self, peer: Peer, key: str, on: bool) -> None:
        """A player wants audio or does not (section 7.2.2.4)."""

    def on_receive_video(self, peer: Peer, key: str, on: bool) -> None:
        """A player wants video or does not (section 7.2.2.5)."""

    def on_pause(self, peer: Peer, key: str, paused: bool) -> None:
        """A player has paused or goes on."""

    def on_command(self, peer: Peer, command: Command) -> None:
        """A command without a meaning of its own; if it asked for an answer, it has got one."""

    def on_closed(self, peer: Peer, reason: CloseReason) -> None:
        """The connection has ended: called exactly once for each that asked to connect or more."""
