"""What the parts of this package ask of each other."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Protocol

from cluster.core.bus.identity import WorkerIdentity
from cluster.core.errors import CloseReason
from cluster.core.media.log_entry import LogEntry
from cluster.core.message import Buffer
from cluster.edge.http.answer import Answer, Waiting
from cluster.edge.http.replies import Replies
from cluster.edge.http.request import Request
from cluster.edge.peers.door import Arrival
from cluster.edge.streams.counters import Counters
from cluster.edge.streams.interfaces import Encoding
from cluster.net.poller import Poller

if TYPE_CHECKING:
    from cluster.edge.http.http_socket import HttpSocket
    from cluster.edge.http.opening import Media
    from cluster.edge.http.player import Player


class HttpEncoding(Encoding, Protocol):
    """An encoding whose first bytes say what a stream has."""

    def begin(self, headers: Iterable[LogEntry], *, audio: str | None, video: str | None) -> list[Buffer]:
        """What is sent to a player before all else: its stream has ``headers``, and media of these codecs
        (see ``opening.Media``)."""


class Exchange(Protocol):
    """A request, what it is answered, and what is played for it.

    That is a connection of HTTP/1.1, on which one request follows the other, or a stream of HTTP/2.
    ``use``: role and stream key, as far as they are known. ``user``: whose rights it has, if anybody has
    said so. ``player``: what it plays until its end.
    """

    agent: str
    use: tuple[str, str]
    user: str
    player: Player | None
    has_played: bool  # it has been sent media

    @property
    def arrival(self) -> Arrival:
        """Of the connection."""

    @property
    def close_reason(self) -> CloseReason | None:
        """Why it has ended."""

    def who(self) -> dict[str, object]:
        """For log lines: its connection, and whose that is."""

    def update_pace(self) -> None:
        """How soon its socket is read may have changed."""

    @property
    def is_secure(self) -> bool:
        """The peer speaks TLS."""

    def lasts_until(self, ends_at: float) -> None:
        """The right to play ends then, on the clock of turns."""

    # ---- for who answers

    def answer(self, request: Request, answer: Answer) -> None:
        """Answer ``request``."""

    def answered(self) -> None:
        """To be called when an answer was given later: what came behind its request is looked at now."""

    def preflight(self, request: Request) -> None:
        """Answer a request for what may be asked."""

    def answer_head(self, request: Request, content_type: str) -> None:
        """Answer ``request``, which is for no more than the head of what has no end."""

    def begin_endless(self, content_type: str) -> list[Buffer]:
        """What has no end is the answer: it begins. Returns what is to be sent in front of it."""

    def speak_websocket(self, request: Request) -> None:
        """``request`` is for a WebSocket, which this is from here on; BadRequest if it cannot be."""

    def waits_no_more(self) -> None:
        """What the request waited for is there."""

    def waits_for(self, waiting: Waiting) -> None:
        """The request waits for something else now."""

    @property
    def has_room(self) -> bool:
        """One more player may be on its connection."""

    # ---- for its player

    def send(self, data: Buffer, /) -> int:
        """See ``streams.interfaces.Sink``."""

    @property
    def is_full(self) -> bool:
        """Bytes wait to be sent."""

    def write_media(self, buffers: Sequence[Buffer]) -> bool:
        """Send whole messages; False if the rest has to wait."""

    def wait_to_write(self, rest: Sequence[Buffer]) -> None:
        """Keep ``rest`` until it can be sent."""

    def lost(self, error: OSError) -> None:
        """Its socket has failed."""

    def play_opens(self, media: Media, since_seq: int) -> None:
        """The stream of its player has ``media``: its first bytes may go out."""

    def refuse_play(self, status: int, text: str) -> None:
        """What it asked to play cannot be played, and nothing of it has been sent."""

    def end_play(self, reason: CloseReason, detail: str) -> None:
        """What it plays is over."""


class ConnectionOwner(Protocol):
    """What a connection needs from the worker it lives in."""

    poller: Poller
    counters: Counters
    identity: WorkerIdentity
    replies: Replies
    handshake_timeout_s: float
    idle_timeout_s: float
    #: One buffer to receive into serves all connections: none keeps a part of it.
    receive_buffer: memoryview

    @property
    def now(self) -> float:
        """The time of this turn, in seconds, monotonic."""

    @property
    def draining(self) -> bool:
        """The server is about to end: no connection stays for further requests."""

    def begin(self, exchange: Exchange, request: Request) -> Waiting | None:
        """Answer ``request``, now or later. If later, returns what waits."""

    def count(self, status: int) -> None:
        """A request is answered with ``status``."""

    def play_opens(self, player: Player, media: Media, since_seq: int) -> None:
        """The stream of ``player`` has ``media``: the player's first bytes may go out."""

    def play_ended(self, player: Player) -> None:
        """``player`` plays no more."""

    def is_fed(self, key: str) -> bool:
        """The stream ``key`` has a publisher."""

    def play_over(self, connection: HttpSocket, reason: CloseReason, detail: str) -> None:
        """What was played on a stream of ``connection`` is over, and the connection stays."""

    def ended(self, connection: HttpSocket, reason: CloseReason, detail: str) -> None:
        """``connection`` has ended, once; what is played on it ends with it."""

    def forget(self, connection: HttpSocket) -> None:
        """The socket of ``connection`` is closed."""
