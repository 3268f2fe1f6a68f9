"""What is fuzzed: every decoder of the core and both roles of the session, each with what must hold.

A target makes one input and runs it. Errors that are documented for it are part of the contract; any
other exception, and any assertion here, is a bug.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import fuzz_seeds as seeds
from fuzz_mutator import Mutator
from fuzz_sessions import ENTROPY, LIMITS, URL, make_script, run_client, run_server

from cluster.core import proxy_protocol
from cluster.core.amf import amf0, amf3
from cluster.core.bus import control_coding, envelope
from cluster.core.errors import MisuseError, PeerViolation
from cluster.core.keys import StreamKey
from cluster.core.limits import Limits
from cluster.core.media.classify import NOT_TIMED, MediaFlags, data_handler_name, flags_of
from cluster.core.media.describe import describe
from cluster.core.media.flv import FlvError, FlvReader
from cluster.core.media.headers import (
    MAX_HEADER_BYTES,
    MAX_HEADERS,
    MAX_METADATA_BYTES,
    header_key,
    header_order,
    is_empty_header,
)
from cluster.core.media.stream_log import LogLimits, StreamLog
from cluster.core.media.timeline import medium_of
from cluster.core.message import Message, MessageType
from cluster.core.rtmp import aggregate, capabilities, command, control, shared_object
from cluster.core.rtmp.adobe_auth import Authenticator, authenticated
from cluster.core.rtmp.chunk_reader import ChunkReader
from cluster.core.rtmp.handshake import ClientHandshake, ServerHandshake
from cluster.core.rtmp.shared_registry import MAX_OBJECT_BYTES, SharedObjects
from cluster.core.rtmp.url import RtmpUrl, UrlError


class Target(NamedTuple):
    """``make`` gives an input, ``run`` takes one and raises only what is in ``errors``."""

    name: str
    make: Callable[[Mutator], Any]
    run: Callable[[Any], None]
    errors: tuple[type[Exception], ...] = ()


def of_bytes(
    name: str, good: Sequence[bytes], run: Callable[[bytes], None], *errors: type[Exception]
) -> Target:
    """A target whose inputs are mutations of ``good``."""
    return Target(name, lambda mutator: mutator.bytes_from(good), run, errors)


# AMF: what was read can be written, unless it holds itself or too much, and then stays as it is.


def _amf(codec: Any) -> Callable[[bytes], None]:
    def run(data: bytes) -> None:
        values = codec.decode_all(data, limits=LIMITS)
        try:
            written = codec.encode(*values)
            again = codec.encode(*codec.decode_all(written))
        except MisuseError:
            return
        assert again == written, "a second round trip changes what the first one wrote"

    return run


# Messages of one type each; the first byte of an input is the message type.


def _message(data: bytes) -> Message:
    return Message(data[0] if data else 0, 5, data[1:], 1)


def _command(data: bytes) -> None:
    read = command.decode(_message(data), LIMITS)
    capabilities.read(read.command_object)
    for value in read.args:
        capabilities.read(value)


def _control(data: bytes) -> None:
    message = _message(data)
    for read in (control.read_user_control, control.read_set_peer_bandwidth, control.read_u32):
        read(message)


def _shared_object(data: bytes) -> None:
    shared = shared_object.decode(_message(data), LIMITS)
    registry: SharedObjects[int] = SharedObjects()
    joined = shared_object.SharedObjectMessage(
        shared.name, 0, shared.persistent, (shared_object.SharedEvent(shared_object.SharedEventType.USE),)
    )
    replies = registry.receive(1, "app", joined, 0.0) + registry.receive(2, "app", shared, 0.0)
    for _, reply in replies:
        message = shared_object.encode(reply)
        assert len(message.payload) < 4 * MAX_OBJECT_BYTES
        shared_object.decode(message, Limits())
    registry.leave(1)
    registry.leave(2)
    assert len(registry) == 0


def _aggregate(data: bytes) -> None:
    messages, _ = aggregate.split(Message(22, 0xFFFFFF00, data, 1))
    assert sum(len(message.payload) for message in messages) <= len(data)
    if messages:
        assert aggregate.split(aggregate.join(messages)) == (messages, False)


def _media(data: bytes) -> None:
    message = _message(data)
    type_id, payload = message.type_id, message.payload
    flags = flags_of(type_id, payload)
    info = describe(type_id, payload)
    assert info.flags == flags
    for track in info.tracks:
        assert 0 <= track.body_start <= track.body_end <= len(payload)
    key = header_key(type_id, payload)
    if key is not None:
        header_order(key)
    is_empty_header(type_id, payload)
    data_handler_name(payload)


# Streams of bytes: the cut must not matter.


def _make_pieces(good: Sequence[bytes]) -> Callable[[Mutator], list[bytes]]:
    return lambda mutator: mutator.pieces(mutator.bytes_from(good))


def _fed(read: Callable[[bytes], list[Message]], pieces: Sequence[bytes]) -> tuple[list[Message], str]:
    messages: list[Message] = []
    try:
        for piece in [*pieces, b""]:
            messages += read(piece)
    except (PeerViolation, FlvError) as error:
        return messages, str(error)
    return messages, ""


def _chunks(pieces: list[bytes]) -> None:
    reader = ChunkReader(LIMITS)
    cut = _fed(reader.feed, pieces)
    assert reader.partial_bytes <= LIMITS.max_partial_bytes + sum(map(len, pieces))
    assert cut == _fed(ChunkReader(LIMITS).feed, [b"".join(pieces)]), "it depends on where it is cut"


def _flv(pieces: list[bytes]) -> None:
    reader = FlvReader(max_tag_bytes=LIMITS.max_message_bytes)
    messages, error = _fed(reader.feed, pieces)
    whole, whole_error = _fed(
        FlvReader(max_tag_bytes=LIMITS.max_message_bytes).feed, [b"".join(pieces)]
    )
    assert messages == whole
    assert error.partition(":")[0] == whole_error.partition(":")[0]
    try:
        reader.finish()
    except FlvError:
        pass


def _good_handshakes() -> tuple[list[bytes], list[bytes]]:
    """What a client and a server send, signed in both layouts and unsigned."""
    up, down = [], []
    for mode in ("auto", "simple"):
        client = ClientHandshake(entropy=ENTROPY, uptime_ms=5, mode=mode)  # type: ignore[arg-type]
        server = ServerHandshake(entropy=ENTROPY[7:], uptime_ms=6)
        first = client.start()
        down.append(server.receive(first))
        up.append(first + client.receive(down[-1]))
    return up, down


_UP, _DOWN = _good_handshakes()


def _make_handshake(good: Sequence[bytes]) -> Callable[[Mutator], list[bytes]]:
    def make(mutator: Mutator) -> list[bytes]:
        data = bytearray(mutator.random.choice(good))
        for _ in range(mutator.random.randrange(3)):
            data[mutator.random.choice((0, 5, 9, 775, 1532, 3072, 300))] = mutator.random.randrange(256)
        return mutator.pieces(bytes(data) + mutator.random.randbytes(mutator.random.randrange(9)))

    return make


def _shake(handshake: ServerHandshake | ClientHandshake, pieces: list[bytes]) -> None:
    for piece in pieces:
        if not handshake.done:
            handshake.receive(piece)
    assert handshake.done
    assert b"".join(pieces).endswith(handshake.leftover) or len(pieces) > 1


# The bus.


def _make_frames(good: Sequence[list[bytes]]) -> Callable[[Mutator], list[bytes]]:
    def make(mutator: Mutator) -> list[bytes]:
        frames = list(mutator.random.choice(good))
        at = mutator.random.randrange(len(frames))
        frames[at] = mutator.bytes_from([frames[at]])
        return frames if mutator.random.random() < 0.95 else frames[:at]

    return make


def _envelope(frame: bytes) -> None:
    read = envelope.decode(frame)
    assert sum(len(message.payload) for message in read.messages) <= len(frame)


# Text.


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def _url(data: bytes) -> None:
    url = RtmpUrl.parse(_text(data))
    assert url.tc_url.startswith(url.scheme)
    str(url)
    StreamKey.parse(url.app, url.stream)


def _authentication(data: bytes) -> None:
    text = _text(data)
    authenticated(URL, text, "01234567")
    for mode in ("adobe", "llnw"):
        Authenticator(mode, bytes(16), {"alice": "x"}.get).judge("live", text, 1.7e9)  # type: ignore[arg-type]


def _proxy_header(data: bytes) -> None:
    header = proxy_protocol.parse(data)
    if header is not None:
        assert 0 < header.size <= len(data)
        assert proxy_protocol.parse(data[: header.size]) == header
        assert proxy_protocol.parse(data[: header.size - 1]) is None


# A stream log, by any messages.


def _make_media(mutator: Mutator) -> list[Message]:
    return mutator.dialogue_from([seeds.MEDIA, seeds.VIDEO, seeds.AUDIO])


def _stream_log(messages: list[Message]) -> None:
    limits = LogLimits(max_bytes=4_000, max_ms=400)
    log = StreamLog(limits)
    progress_ms = 0
    last: dict[int, int] = {}
    largest = 0
    for number, message in enumerate(messages):
        entry = log.append(message)
        largest = max(largest, len(message.payload))
        assert log.bytes_held <= max(limits.max_bytes, largest)
        assert log.timeline.progress_ms >= progress_ms, "media time goes back"
        progress_ms = log.timeline.progress_ms
        if entry is not None and not entry.flags & (NOT_TIMED | MediaFlags.DATA):
            medium = medium_of(entry.type_id, entry.flags, entry.payload)
            assert entry.timestamp >= last.get(medium, 0), "a medium goes back"
            last[medium] = entry.timestamp
        if number % 9 == 8:
            log.restart(None if number % 2 else 40)
    bounds = {int(MessageType.DATA_AMF0): MAX_METADATA_BYTES}
    start = log.start_of_join()
    for seq in (start, log.next_seq):
        headers = log.headers_for(seq)
        assert len(headers) <= MAX_HEADERS
        assert all(len(each.payload) <= bounds.get(each.type_id, MAX_HEADER_BYTES) for each in headers)
    log.read(start, log.next_seq, 100)


_RTMP = (PeerViolation,)
TARGETS: tuple[Target, ...] = (
    of_bytes("amf0", seeds.AMF0, _amf(amf0), *_RTMP),
    of_bytes("amf3", seeds.AMF3, _amf(amf3), *_RTMP),
    of_bytes("command", seeds.COMMAND_BYTES, _command, *_RTMP),
    of_bytes("control", seeds.CONTROL_BYTES, _control, *_RTMP),
    of_bytes("shared_object", seeds.SHARED_BYTES, _shared_object, *_RTMP),
    of_bytes("aggregate", [bytes(each.payload) for each in seeds.AGGREGATES], _aggregate, *_RTMP),
    of_bytes("media", seeds.MEDIA_BYTES, _media),
    Target("chunks", _make_pieces(seeds.CHUNKS), _chunks),
    Target("flv", _make_pieces(seeds.FLV), _flv),
    Target(
        "server_handshake", _make_handshake(_UP),
        lambda pieces: _shake(ServerHandshake(entropy=ENTROPY, uptime_ms=0), pieces), _RTMP,
    ),
    Target(
        "client_handshake", _make_handshake(_DOWN),
        lambda pieces: _shake(ClientHandshake(entropy=ENTROPY, uptime_ms=0), pieces), _RTMP,
    ),
    of_bytes("envelope", seeds.ENVELOPES, _envelope, envelope.EnvelopeError),
    Target(
        "bus_control", _make_frames(seeds.BUS_CONTROLS), lambda frames: void(control_coding.decode(frames)),
        (control_coding.ControlError,),
    ),
    Target(
        "bus_control_routed", _make_frames(seeds.BUS_CONTROLS),
        lambda frames: void(control_coding.decode_sealed(frames[0] if frames else b"", frames[1:])),
        (control_coding.ControlError,),
    ),
    of_bytes("url", seeds.URLS, _url, UrlError, *_RTMP),
    of_bytes("proxy_header", seeds.PROXY_HEADERS, _proxy_header, *_RTMP),
    of_bytes("authentication", seeds.REJECTIONS, _authentication),
    Target("stream_log", _make_media, _stream_log),
    Target("server_dialogue", make_script(seeds.TO_SERVER, True), run_server, _RTMP),
    Target("client_dialogue", make_script(seeds.TO_CLIENT, True), run_client, _RTMP),
    Target("server_bytes", make_script(seeds.TO_SERVER, False), run_server, _RTMP),
    Target("client_bytes", make_script(seeds.TO_CLIENT, False), run_client, _RTMP),
)  # fmt: skip


def void(value: object) -> None:
    """For a decoder whose value needs no check."""
