"""What both sides of a connection say, for a person: a line for each message, and its first bytes."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Final

from cluster.core.amf import amf0
from cluster.core.amf.values import UNDEFINED, AmfValue
from cluster.core.errors import AmfError, PeerViolation
from cluster.core.hexdump import hexdump
from cluster.core.limits import Limits
from cluster.core.media.describe import describe
from cluster.core.message import Message, MessageType
from cluster.core.rtmp import command, control
from cluster.core.rtmp.chunk_reader import ChunkReader
from cluster.core.rtmp.control import UserControlEvent
from cluster.core.rtmp.handshake import PACKET_BYTES
from cluster.process.words import hide_secrets, printable

#: Bytes of each message in hex.
HEX_BYTES: Final = 64
#: Of a text, and of what an object or a list has in it.
_TEXT_SHOWN, _MEMBERS_SHOWN, _DEPTH_SHOWN = 100, 24, 4

_MEDIA = (MessageType.AUDIO, MessageType.VIDEO)
_COMMANDS = (MessageType.COMMAND_AMF0, MessageType.COMMAND_AMF3)
_DATA = (MessageType.DATA_AMF0, MessageType.DATA_AMF3)
_ONE_NUMBER = (
    MessageType.SET_CHUNK_SIZE, MessageType.ABORT, MessageType.ACKNOWLEDGEMENT, MessageType.WINDOW_ACK_SIZE
)  # fmt: skip


def _hidden(text: str) -> str:
    return hide_secrets(text.encode("utf-8", "surrogateescape")).decode("utf-8", "surrogateescape")


def _shown_bytes(message: Message) -> bytes:
    """The payload with asterisks for the secrets in its texts."""
    payload = bytes(message.payload)
    if message.type_id in _MEDIA:
        return payload
    try:
        values = amf0.decode_all(payload, offset=_amf_offset(message))
    except AmfError:
        return hide_secrets(payload)  # whatever looks like an address
    for text in _texts(values):
        raw = text.encode("utf-8", "surrogateescape")
        payload = payload.replace(raw, hide_secrets(raw))
    return payload


def _amf_offset(message: Message) -> int:
    """Where the AMF0 values begin: messages of the AMF3 types have a byte before them."""
    is_amf3 = message.type_id in (MessageType.COMMAND_AMF3, MessageType.DATA_AMF3)
    return 1 if is_amf3 and message.payload[:1] == b"\0" else 0


def _texts(value: object) -> Iterator[str]:
    """Each text in a value that has a query or an address in it."""
    if isinstance(value, str):
        if "?" in value or "://" in value:
            yield value
    elif isinstance(value, dict):
        for key, member in value.items():
            yield from _texts(key)
            yield from _texts(member)
    elif isinstance(value, list | tuple):
        for member in value:
            yield from _texts(member)


class Dialogue:
    """The tap of one connection (``ConnectOptions.tap``): gives ``write`` what is said, in whole lines.

    ``elapsed_ms`` tells the time. What we say is marked ``>``, what the server says ``<``.
    """

    def __init__(self, where: str, write: Callable[[str], None], elapsed_ms: Callable[[], float]) -> None:
        self._write = write
        self._elapsed_ms = elapsed_ms
        self._ours = _Side(("C0, C1", "C2"))
        self._theirs = _Side(("S0, S1", "S2"))
        self._say("-", f"connected to {where}")

    def sent(self, data: bytes) -> None:
        self._tell(">", self._ours.feed(data))

    def received(self, data: bytes) -> None:
        self._tell("<", self._theirs.feed(data))

    def _tell(self, mark: str, said: Iterator[str | Message]) -> None:
        for each in said:
            if isinstance(each, str):
                self._say(mark, each)
                continue
            self._say(mark, describe_message(each))
            if each.payload:
                self._write(hexdump(_shown_bytes(each), limit_bytes=HEX_BYTES, indent=15))

    def _say(self, mark: str, what: str) -> None:
        self._write(f"{self._elapsed_ms():9.1f} ms {mark} {printable(what)}")


class _Side:
    """What one side says: a handshake of a known length, then messages."""

    def __init__(self, packets: tuple[str, str]) -> None:
        self._packets = list(zip(packets, (1 + PACKET_BYTES, PACKET_BYTES), strict=True))
        self._begun = bytearray()
        self._reader = ChunkReader(Limits())
        self._is_lost = False

    def feed(self, data: bytes) -> Iterator[str | Message]:
        """What ``data`` completes: a line for each part of the handshake, and messages."""
        if self._packets:
            self._begun += data
            data = b""
            while self._packets and len(self._begun) >= self._packets[0][1]:
                name, length = self._packets.pop(0)
                yield _describe_handshake(name, bytes(self._begun[:length]))
                del self._begun[:length]
                if not self._packets:
                    data = bytes(self._begun)
        if data and not self._is_lost:
            try:
                yield from self._reader.feed(data)
                while self._reader.unread:
                    yield from self._reader.feed(self._reader.unread)
                self._reader.check()
            except PeerViolation as violation:
                self._is_lost = True
                yield f"cannot be read on: {violation.detail}"


def _describe_handshake(name: str, packet: bytes) -> str:
    if len(packet) == PACKET_BYTES:
        return f"handshake {name}: {len(packet)} bytes"
    version = ".".join(map(str, packet[5:9]))
    return f"handshake {name}: protocol {packet[0]}, {len(packet)} bytes, by version {version}"


def describe_message(message: Message) -> str:
    """One message in one line, without secrets. Its text is the peer's, and not yet fit for a terminal."""
    type_id, timestamp, payload, stream_id = message
    size = f"{len(payload)} bytes"
    where = f" on stream {stream_id}" if stream_id else ""
    try:
        if type_id in _MEDIA:
            return f"{MessageType(type_id).name.lower()}{where} at {timestamp} ms, {size}: {_what(message)}"
        if type_id in _COMMANDS:
            said = command.decode(message, Limits())
            values = _listed([said.command_object, *said.args])
            return f"{_short(said.name)[1:-1]}{where}, transaction {said.transaction_id:g}: {values}"
        if type_id in _DATA:
            values = _listed(amf0.decode_all(payload, offset=_amf_offset(message)))
            return f"data{where} at {timestamp} ms, {size}: {values}"
        return f"{_control(message) or f'message of type {type_id}'}{where}, {size}"
    except PeerViolation as violation:
        return f"message of type {type_id}{where}, {size}, cannot be read: {violation.detail}"


def _what(message: Message) -> str:
    """What a media message is: its kind, and codec, track and keyframe of each track."""
    info = describe(message.type_id, message.payload)
    tracks = [
        f"{track.codec or 'unknown codec'}{f' track {track.track_id}' if track.track_id else ''}"
        f"{' keyframe' if track.keyframe else ''}"
        for track in info.tracks
    ]
    return " ".join([info.kind.replace("_", " "), *[", ".join(tracks)] * bool(tracks)])


def _control(message: Message) -> str:
    """A control message; "" if it is none."""
    type_id = message.type_id
    if type_id == MessageType.USER_CONTROL:
        event = control.read_user_control(message)
        known = {each.value: each.name.lower().replace("_", " ") for each in UserControlEvent}
        values = " ".join(map(str, event.values))
        return f"{known.get(event.event, f'user control event {event.event}')} {values}".rstrip()
    if type_id == MessageType.SET_PEER_BANDWIDTH:
        bandwidth = control.read_set_peer_bandwidth(message)
        return f"set peer bandwidth {bandwidth.window_bytes} {bandwidth.limit.name.lower()}"
    if type_id in _ONE_NUMBER:
        return f"{MessageType(type_id).name.lower().replace('_', ' ')} {control.read_u32(message)}"
    if type_id in (MessageType.AGGREGATE, MessageType.SHARED_OBJECT_AMF0, MessageType.SHARED_OBJECT_AMF3):
        return MessageType(type_id).name.lower().replace("_", " ")
    return ""


def _listed(values: list[AmfValue]) -> str:
    return " ".join(_short(value) for value in values)


def _short(value: object, depth: int = 0) -> str:
    """A value as text that is not too long, without secrets."""
    if isinstance(value, str):
        shown = _hidden(value)
        return f'"{shown if len(shown) <= _TEXT_SHOWN else shown[:_TEXT_SHOWN] + "…"}"'
    if isinstance(value, bool) or value is None:
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, float | int):
        return f"{value:.15g}"
    if value is UNDEFINED:
        return "undefined"
    if isinstance(value, dict | list | tuple):
        opening, closing = "{}" if isinstance(value, dict) else "[]"
        if depth == _DEPTH_SHOWN:
            return f"{opening}…{closing}"
        first = list(itertools.islice(value.items() if isinstance(value, dict) else value, _MEMBERS_SHOWN))
        members = [
            f"{_hidden(str(each[0]))}: {_short(each[1], depth + 1)}"
            if isinstance(value, dict)
            else _short(each, depth + 1)
            for each in first
        ]
        return f"{opening}{', '.join(members)}{', …' if len(value) > len(first) else ''}{closing}"
    return type(value).__name__
