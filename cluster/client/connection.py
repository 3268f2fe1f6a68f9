"""A connection to an RTMP server: calls, publications, playbacks and events on one socket."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from cluster.client.calls import Answer, Answers, Method, Methods, settle
from cluster.client.errors import CLOSED_HERE, CallError, ConnectionClosed, ConnectRejected
from cluster.client.inbox import EventQueue
from cluster.client.playback import Playback
from cluster.client.publication import Publication
from cluster.client.read_gate import DEFAULT_QUEUE_BYTES
from cluster.client.remote_stream import RemoteStream
from cluster.client.shared_object import SharedObject
from cluster.client.socket_protocol import SocketProtocol, Tap
from cluster.client.targets import resolve
from cluster.client.waiting import raise_or_return
from cluster.client.wire import Wire
from cluster.core.amf.values import AmfValue
from cluster.core.errors import CloseReason, MisuseError
from cluster.core.keys import joined, split_query
from cluster.core.limits import Limits
from cluster.core.message import Message
from cluster.core.rtmp import capabilities
from cluster.core.rtmp.capabilities import Capabilities
from cluster.core.rtmp.client_session import DEFAULT_BUFFER_MS, ClientSession
from cluster.core.rtmp.events import (
    CallFailed,
    CallSucceeded,
    CloseRequested,
    CommandReceived,
    ConnectFailed,
    ConnectSucceeded,
    Event,
    HandshakeCompleted,
    ReconnectRequested,
    SharedObjectReceived,
    StatusReceived,
    StreamEventReceived,
    StreamReady,
)
from cluster.core.rtmp.status import Level
from cluster.core.rtmp.url import RtmpUrl, UrlError

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

_Stream = TypeVar("_Stream", bound=RemoteStream)


class Connection:
    """Made by ``connect``; leaving its ``async with`` closes it.

    ``url`` is the address that answered, after redirects. ``handshake_kind`` and ``peer_version`` are
    those of the handshake, ``properties`` and ``information`` the two objects of the server's answer to
    connect, ``capabilities`` the Enhanced RTMP part of the first. ``reconnect_url`` is where the server
    has asked us to go, None as long as it has not. ``async for event in connection.events`` has what the
    server says that belongs to no playback or publication.
    """

    def __init__(
        self,
        session: ClientSession,
        url: RtmpUrl,
        *,
        limits: Limits,
        timeout_s: float,
        queue_bytes: int = DEFAULT_QUEUE_BYTES,
        tap: Tap | None = None,
    ) -> None:
        self.url = url
        self.session = session
        self.handshake_kind = ""
        self.peer_version = b""
        self.properties: AmfValue = None
        self.information: AmfValue = None
        self.capabilities: Capabilities = capabilities.LEGACY
        self.reconnect_url: RtmpUrl | None = None
        self.protocol = SocketProtocol(
            session,
            limits=limits,
            queue_bytes=queue_bytes,
            deliver=self._deliver,
            on_closed=self._on_closed,
            tap=tap,
        )
        self.wire = Wire(session, self.protocol, timeout_s)
        self.events: EventQueue[Event] = EventQueue()
        self._connected: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._answers = Answers(send=self.wire.flush, unclaimed=self._unclaimed)
        self._methods = Methods(session)
        self._streams: dict[int, RemoteStream] = {}
        self._shared_objects: dict[str, SharedObject] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        await self.close()

    # What it is.

    @property
    def closed(self) -> ConnectionClosed | None:
        """Why it is closed; None while it is open."""
        return self.protocol.closed

    @property
    def rtt_ms(self) -> float | None:
        """The last round-trip time; None until a ping was answered."""
        return self.session.rtt_ms

    @property
    def bytes_received(self) -> int:
        """Bytes from the server, handshake included."""
        return self.session.bytes_received

    # What a program asks of it.

    async def call(
        self,
        name: str,
        *args: AmfValue,
        command_object: AmfValue = None,
        timeout_s: float | None = None,
    ) -> AmfValue:
        """Call a method of the server: the first value of its result, None if it has none.

        CallError if the server answers ``_error``; Timeout after ``timeout_s`` (None: the connection's).
        """
        self.wire.check_open()
        transaction_id = self.session.call(name, *args, command_object=command_object)
        answer = await self.wire.within(timeout_s, f"call of {name!r}", self._answers.wait(transaction_id))
        assert isinstance(answer, CallSucceeded)
        return answer.values[1] if len(answer.values) > 1 else None

    async def send_command(self, name: str, *args: AmfValue, command_object: AmfValue = None) -> None:
        """Send a command that asks for no answer."""
        self.wire.check_open()
        self.session.send_command(name, *args, command_object=command_object)
        await self.wire.drain()

    async def publish(
        self, name: str | None = None, publish_type: str = "live", *, timeout_s: float | None = None
    ) -> Publication:
        """Publish ``name`` (None: the stream of the URL) as "live", "record" or "append".

        Returns once the server has begun; PublishRefused with its reason if it does not.
        """
        chosen = self._name(name)
        self.wire.check_open()
        # Servers that keep a stream for its last publisher let go of it by these; none need answer.
        self.session.call("releaseStream", chosen)
        self.session.call("FCPublish", chosen)

        def begin(stream_id: int) -> None:
            self.session.publish(chosen, publish_type, stream_id=stream_id)

        started = self._start(Publication, chosen, begin)
        return await self.wire.within(timeout_s, f"publish of {split_query(chosen)[0]!r}", started)

    async def play(
        self,
        name: str | None = None,
        *,
        start: float = -2,
        duration: float = -1,
        reset: bool = True,
        buffer_ms: int = DEFAULT_BUFFER_MS,
        timeout_s: float | None = None,
    ) -> Playback:
        """Play ``name`` (None: the stream of the URL). Times in seconds.

        ``start``: -2 live, else recorded; -1 live only; from 0 on a position of a recording. ``duration``:
        -1 to the end. ``reset`` False appends to what plays. Returns once the server has begun, which for
        a stream that nobody publishes yet may be long before the first message; PlayFailed if it does not.
        """
        chosen = self._name(name)
        self.wire.check_open()

        def begin(stream_id: int) -> None:
            self.session.play(
                chosen, start=start, duration=duration, reset=None if reset else False,
                buffer_ms=buffer_ms, stream_id=stream_id,
            )  # fmt: skip

        started = self._start(Playback, chosen, begin)
        return await self.wire.within(timeout_s, f"play of {split_query(chosen)[0]!r}", started)

    async def shared_object(
        self, name: str, *, persistent: bool = False, timeout_s: float | None = None
    ) -> SharedObject:
        """Use a shared object of the server's; SharedObjectRefused if it does not agree."""
        self.wire.check_open()
        if name in self._shared_objects:
            raise MisuseError(f"the shared object {name!r} is in use on this connection")
        shared = self._shared_objects[name] = SharedObject(
            self.wire, name, persistent, on_left=self._forget_shared_object
        )
        try:
            await self.wire.within(timeout_s, f"use of the shared object {name!r}", shared.wait_ready())
        except BaseException:
            shared.leave()
            raise
        return shared

    def answer(self, name: str, method: Method) -> None:
        """Answer the server's calls of ``name``: ``method`` gets the arguments and returns the result.

        It runs in the event loop and must not block. A CallError it raises is the answer.
        """
        self._methods.add(name, method)

    async def ping(self) -> None:
        """Send a ping; ``rtt_ms`` has the round-trip time once the server has answered."""
        self.wire.check_open()
        self.protocol.ping()
        await self.wire.drain()

    async def wait_closed(self) -> ConnectionClosed:
        """Wait until the connection is gone; why."""
        await self.protocol.ended.wait()
        assert self.closed is not None
        return self.closed

    async def close(self) -> None:
        """End publications and playbacks, then the connection, in at most CLOSE_TIMEOUT_S. Never raises."""
        if self.closed is None:
            for stream in tuple(self._streams.values()):
                stream.leave()
            self.protocol.close(ConnectionClosed(CLOSED_HERE, "this side closed it"))
        await self.protocol.wait_ended()

    # For what is made of it.

    def forget(self, stream: RemoteStream) -> None:
        """The stream is not used any more: give it back to the server."""
        self._streams.pop(stream.stream_id, None)
        self._give_back(stream.stream_id)

    def _forget_shared_object(self, shared: SharedObject) -> None:
        """The object is not used any more."""
        self._shared_objects.pop(shared.name, None)

    async def wait_connected(self) -> None:
        """Wait for the answer to connect; ConnectRejected or ConnectionClosed if it is not a yes."""
        raise_or_return(await self._connected)

    # Asking.

    def _name(self, name: str | None) -> str:
        chosen = self.url.stream if name is None else name
        if not joined(self.url.app, chosen):
            raise MisuseError("no stream name: give one, or connect to a URL that has one")
        return chosen

    async def _start(self, kind: type[_Stream], name: str, begin: Callable[[int], None]) -> _Stream:
        """Make a message stream and begin on it; it is given back unless all goes well."""
        ready = await self._answers.wait(self.session.create_stream())
        assert isinstance(ready, StreamReady)
        stream = kind(self, self.wire, name, ready.stream_id)
        self._streams[ready.stream_id] = stream
        try:
            self.wire.check_open()
            begin(ready.stream_id)
            self.wire.flush()
            await stream.wait_started()
        except BaseException:
            stream.leave()
            raise
        return stream

    def _give_back(self, stream_id: int) -> None:
        if self.closed is None and stream_id in self.session.streams:
            self.session.delete_stream(stream_id)
            self.wire.flush()

    # What comes in.

    def _deliver(self, item: Event | Message, cost_bytes: int) -> None:
        if isinstance(item, Message):
            stream = self._streams.get(item.stream_id)
            if stream is not None:
                stream.on_message(item, cost_bytes)
            return
        match item:
            case HandshakeCompleted():
                self.handshake_kind, self.peer_version = item.kind, item.peer_version
            case ConnectSucceeded():
                self.properties, self.information = item.properties, item.information
                self.capabilities = item.capabilities
                settle(self._connected, item)
            case ConnectFailed():
                settle(self._connected, ConnectRejected(item.code, item.description, item.redirect))
            case CallSucceeded() | StreamReady():
                self._answers.settle(item.transaction_id, item)
            case CallFailed():
                error = CallError(item.code, item.description, item.values)
                self._answers.settle(item.transaction_id, error)
            case StatusReceived() | StreamEventReceived() if item.stream_id in self._streams:
                self._deliver_to_stream(self._streams[item.stream_id], item, cost_bytes)
            case CommandReceived() if item.command.name in self.session.methods:
                self._methods.call(item.command)
            case SharedObjectReceived() if item.shared.name in self._shared_objects:
                self._shared_objects[item.shared.name].on_message(item.shared, cost_bytes)
            case _:
                self._deliver_here(item, cost_bytes)

    def _deliver_to_stream(
        self, stream: RemoteStream, event: StatusReceived | StreamEventReceived, cost_bytes: int
    ) -> None:
        if isinstance(event, StatusReceived):
            stream.on_status(event, cost_bytes)
        else:
            stream.on_event(event, cost_bytes)

    def _deliver_here(self, event: Event, cost_bytes: int) -> None:
        """An event of the connection as a whole."""
        self.events.put(event, cost_bytes)
        if isinstance(event, StatusReceived) and event.level == Level.ERROR:
            self.protocol.last_words = f"{event.code}: {event.description}"
        elif isinstance(event, ReconnectRequested):
            with contextlib.suppress(UrlError):  # an address that cannot be used asks for nothing
                self.reconnect_url = resolve(self.url, event.tc_url)
            for stream in self._streams.values():
                stream.on_event(event, 0)
        elif isinstance(event, CloseRequested):
            self.protocol.close(ConnectionClosed(CloseReason.PEER_CLOSED, "the server asked for it"))

    def _unclaimed(self, answer: Answer) -> None:
        """An answer came, and who asked does not wait any more."""
        if isinstance(answer, StreamReady):
            self._give_back(answer.stream_id)

    def _on_closed(self, closed: ConnectionClosed) -> None:
        settle(self._connected, closed)
        self._answers.fail(closed)
        for stream in tuple(self._streams.values()):
            stream.fail(closed)
        for shared in self._shared_objects.values():
            shared.fail(closed)
        self.events.finish(None if closed.reason == CLOSED_HERE else closed)
