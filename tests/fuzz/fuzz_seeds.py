"""Good inputs to begin with: values, messages, files, and the dialogues that real peers hold."""

from __future__ import annotations

from cluster.core.amf import amf0, amf3
from cluster.core.amf.values import (
    UNDEFINED,
    Amf3Array,
    AmfDate,
    AmfValue,
    Dictionary,
    EcmaArray,
    TypedObject,
    Vector,
    VectorKind,
    Xml,
    XmlDocument,
)
from cluster.core.bus import control_coding, envelope
from cluster.core.bus.cluster_status import StreamFacts
from cluster.core.bus.control import Granted, HelloPart, NodeReport, Publish, Snapshot, StreamUp
from cluster.core.media import flv
from cluster.core.message import Message, MessageType
from cluster.core.rtmp import aggregate, capabilities, command, control, shared_object, status, swf
from cluster.core.rtmp.chunk_writer import ChunkWriter
from cluster.core.rtmp.command import Command
from cluster.core.rtmp.control import PeerBandwidthLimit, UserControlEvent
from cluster.core.rtmp.shared_object import SharedEvent, SharedEventType, SharedObjectMessage
from cluster.core.rtmp.swf import SwfFile

VALUES: list[AmfValue] = [
    1.5,
    -1,
    True,
    "text",
    "é" * 40,
    None,
    UNDEFINED,
    {"a": 1.0, "b": {"c": [1.0, "x", None]}},
    EcmaArray({"width": 1920.0, "height": 1080.0, "encoder": "obs"}),
    [1.0, [2.0, [3.0]]],
    AmfDate(1.0e12, 60),
    XmlDocument("<a/>"),
    TypedObject("C", {"s": 1.0, "d": 2.0}, sealed=["s"]),
]
ONLY_AMF3: list[AmfValue] = [
    b"bytes",
    Xml("<b/>"),
    Amf3Array([1, 2], {"k": "v"}),
    Dictionary([("k", 1), (2, {"x": 1})]),
    Vector(VectorKind.INT, [1, -2, 3]),
    Vector(VectorKind.DOUBLE, [0.5]),
    Vector(VectorKind.OBJECT, [{"a": 1}]),
]
AMF0 = [amf0.encode(value) for value in [*VALUES, *ONLY_AMF3]] + [
    amf0.encode(*VALUES),
    bytes.fromhex("03 0001 61 07 0000 000009 07 0000"),  # an object that holds itself, and a reference
]
AMF3 = [amf3.encode(value) for value in [*VALUES, *ONLY_AMF3]] + [
    amf3.encode(*VALUES, *ONLY_AMF3),
    bytes.fromhex("0A 0B 01 03 61 0A 00 01 0A 00"),  # the same in AMF3
]

_MESSAGES = [
    "170000000001640028ffe1000467640028010004 68ee3cb0",
    "17010000000000000165",
    "2701000021 0000000141",
    "1702000000",
    "90687663310101",
    "91 68766331 000021 00000002 2601",
    "A3 68766331 00000002 0201",
    "A2 68766331",
    "84 68766331 02 0009 636F6C6F72496E666F 06",
    "97 02 0F423F 01 68766331 000000 0000",
    "96 01 61766331 02 000000 00000001 65",
    "96 10 68766331 00 000002 0101 01 000002 0102",
    "A6 21 61763031 00 000003 120032 61766331 01 000007 000000 00000001",
    "D100",
    "D4 68766331 02 0009",
    "90 61763031",
    "95 61763031 80048100",
    "1200 0084",
    "C1 61763031 120032",
]
_SOUNDS = [
    "AF001190",
    "AF01211004",
    "2FFFFB9064",
    "90 4F707573 4F70757348656164 0102",
    "91 4F707573 F8",
    "95 01 6D703461 01 2110",
    "95 11 4F707573 00 000001 F8 01 000002 F8FF",
    "94 4F707573 01 02 00000003",
    "94 4F707573 02 02 0001",
    "95 04 4F707573 03 01 02 00000003",
    "92 4F707573",
    "97 02 000FA0 01 4F707573 F8",
    "90 664C6143 664C6143 80000022",
    "91 61632D33 0B77",
    "91 65632D33 0B77",
    "91 2E6D7033 FFFB",
]
METADATA = amf0.encode("@setDataFrame", "onMetaData", EcmaArray({"width": 1920.0}))
VIDEO = [Message(9, 40 * n, bytes.fromhex(text), 1) for n, text in enumerate(_MESSAGES)]
AUDIO = [Message(8, 20 * n, bytes.fromhex(text), 1) for n, text in enumerate(_SOUNDS)]
DATA = [
    Message(18, 0, METADATA, 1),
    Message(15, 0, b"\x00" + METADATA, 1),
    Message(18, 5, amf0.encode("@clearDataFrame", "onMetaData"), 1),
    Message(18, 5, amf0.encode("onTextData", {"text": "x"}), 1),
]
MEDIA = [*DATA, *VIDEO, *AUDIO]
MEDIA_BYTES = [bytes([message.type_id]) + bytes(message.payload) for message in MEDIA]
AGGREGATES = [aggregate.join(MEDIA), aggregate.join([AUDIO[1]] * 5)]

SHARED = [
    SharedObjectMessage(
        "chat",
        1,
        False,
        (
            SharedEvent(SharedEventType.USE),
            SharedEvent(SharedEventType.REQUEST_CHANGE, "k", (value,)),
            SharedEvent(SharedEventType.SEND_MESSAGE, "m", (value, 1.0)),
            SharedEvent(SharedEventType.REQUEST_REMOVE, "k"),
            SharedEvent(SharedEventType.RELEASE),
            SharedEvent(SharedEventType.STATUS, "code", ("error",)),
        ),
        amf3_type,
    )
    for amf3_type in (False, True)
    for value in VALUES[:9]
]
SHARED_MESSAGES = [shared_object.encode(shared) for shared in SHARED]


def _command(
    name: str, transaction_id: float, *args: AmfValue, stream_id: int = 0, amf3: bool = False
) -> Message:
    return command.encode(Command(name, transaction_id, None, args, stream_id, amf3))


_CONNECT = command.encode(
    Command(
        "connect",
        1.0,
        {
            "app": "live?token=1",
            "tcUrl": "rtmp://h/live",
            "flashVer": "FMLE/3.0",
            "objectEncoding": 3.0,
            **capabilities.declare(capabilities.RELAY),
        },
    )
)
CONTROLS = [
    control.set_chunk_size(64),
    control.set_chunk_size(65536),
    control.abort(4),
    control.acknowledgement(1 << 33),
    control.window_ack_size(5000),
    control.set_peer_bandwidth(5000, PeerBandwidthLimit.SOFT),
    control.set_peer_bandwidth(9000, PeerBandwidthLimit.HARD),
    control.ping_request(5),
    control.ping_response(0),
    control.set_buffer_length(1, 300),
    control.stream_begin(1),
    control.stream_eof(1),
    control.user_control(UserControlEvent.STREAM_DRY, 1),
    control.user_control(UserControlEvent.STREAM_IS_RECORDED, 1),
    control.user_control(UserControlEvent.BUFFER_EMPTY, 1),
    control.user_control(UserControlEvent.BUFFER_READY, 1),
    control.swf_verify_request(),
    swf.response(SwfFile(5, bytes(32)), bytes(32)),
]
#: What peers send to a server, after the handshake.
TO_SERVER: list[list[Message]] = [
    [
        control.set_chunk_size(4096),
        _CONNECT,
        _command("releaseStream", 2, "cam"),
        _command("FCPublish", 3, "cam"),
        _command("createStream", 4),
        _command("publish", 5, "cam", "live", stream_id=1),
        *MEDIA,
        _command("FCUnpublish", 6, "cam"),
        _command("deleteStream", 7, 1.0),
    ],
    [
        _CONNECT,
        control.window_ack_size(5000),
        _command("_checkbw", 2),
        _command("createStream", 3),
        _command("getStreamLength", 4, "cam"),
        control.set_buffer_length(1, 300),
        _command("play", 5, "cam", -2.0, 3.0, False, stream_id=1),
        _command("play", 6, "b", 0, -1, 0, stream_id=1),
        _command("pause", 0, True, 5.0, stream_id=1),
        _command("pauseRaw", 0, False, 5.0, stream_id=1),
        _command("seek", 0, 5.0, stream_id=1),
        _command("receiveAudio", 0, False, stream_id=1),
        _command("receiveVideo", 0, True, stream_id=1),
        _command("play2", 0, {"streamName": "c"}, stream_id=1),
        _command("closeStream", 0, stream_id=1),
        _command("play", 0, False, stream_id=1),
    ],
    [
        _CONNECT,
        *SHARED_MESSAGES,
        *CONTROLS,
        _command("createStream", 2, amf3=True),
        *AGGREGATES,
        _command("publish", 3, "cam", "record", stream_id=1, amf3=True),
        *AGGREGATES,
        _command("someCall", 9, {"a": 1}),
        _command("_result", 1, None),
        _command("close", 0),
    ],
]
#: What servers send to a peer that has connected, publishes on stream 1 and plays on stream 2.
TO_CLIENT: list[list[Message]] = [
    [
        *CONTROLS[:6],
        command.encode(
            Command(
                "_result",
                1.0,
                {"fmsVer": "FMS/3,5", **capabilities.answer(capabilities.RELAY)},
                ({"level": "status", "code": "NetConnection.Connect.Success"},),
            )
        ),
        _command("onBWDone", 0),
        _command("_result", 2, None),
        _command("_result", 3, None),
        _command("_result", 4, 1.0),
        _command("_result", 5, 2.0),
        _command("_result", 6, 1.0),
        *(
            command.encode(status.on_status(stream_id, "status", code, "x"))
            for stream_id in (1, 2)
            for code in (
                "NetStream.Publish.Start",
                "NetStream.Play.Reset",
                "NetStream.Play.Start",
            )
        ),
        *[message._replace(stream_id=2) for message in [*MEDIA, *AGGREGATES]],
        command.encode(status.on_status(2, "error", "NetStream.Play.Failed", "x")),
        command.encode(
            status.on_status(0, "status", "NetConnection.Connect.ReconnectRequest", "x", tcUrl="/b")
        ),
        *CONTROLS,
        *SHARED_MESSAGES,
        _command("_onbwcheck", 9),
        _command("rpc", 9, 1.0),
        _command("close", 0),
    ],
    [
        command.encode(
            Command(
                "_error",
                1.0,
                None,
                (
                    {
                        "level": "error",
                        "code": "NetConnection.Connect.Rejected",
                        "ex": {"code": 302, "redirect": "rtmp://b/c"},
                    },
                ),
            )
        )
    ],
]

COMMANDS = [
    message for dialogue in (*TO_SERVER, *TO_CLIENT) for message in dialogue if message.type_id in (17, 20)
]
COMMAND_BYTES = [bytes([message.type_id]) + bytes(message.payload) for message in COMMANDS]
CONTROL_BYTES = [bytes([message.type_id]) + bytes(message.payload) for message in CONTROLS]
SHARED_BYTES = [bytes([message.type_id]) + bytes(message.payload) for message in SHARED_MESSAGES]


def _chunks(messages: list[Message], chunk_size: int) -> bytes:
    writer = ChunkWriter()
    sized = [control.set_chunk_size(chunk_size), *messages]
    return b"".join(writer.encode(each, 2 + number % 5) for number, each in enumerate(sized))


CHUNKS = [
    _chunks(list(dialogue), size) for dialogue in (*TO_SERVER, MEDIA[:6]) for size in (1, 30, 128, 4096)
]
CHUNKS += [
    bytes.fromhex("06 FFFFFF 0000A0 09 01000000 01000000")
    + bytes(128)
    + bytes.fromhex("C6 01000000")
    + bytes(32),
    bytes.fromhex("04 000000 000001 09 01000000 17 46 FFFFFF 000001 09 01000000 17 C6 01000000 17"),
]
FLV = [
    flv.encode_header(True, True)
    + b"".join(b"".join(flv.encode_tag(each.type_id, each.timestamp, each.payload)) for each in messages)
    for messages in (MEDIA, MEDIA[:3], [])
]
BUS_MESSAGES = [
    Message(each.type_id, each.timestamp, each.payload)
    for each in MEDIA
    if each.type_id != MessageType.DATA_AMF3
]
ENVELOPES = [
    envelope.encode(envelope.Envelope("live/cam", 5, 7, "node/0/1", messages))
    for messages in (BUS_MESSAGES, BUS_MESSAGES[:1], [])
]
BUS_CONTROLS = [
    [bytes(frame) for frame in control_coding.encode(message)]
    for message in (
        Snapshot("live/cam", 5, 9, BUS_MESSAGES[:2], BUS_MESSAGES[2:6]),
        Publish("live/cam", False, 1),
        Granted("live/cam", 7, 3),
        StreamUp("live/cam", 7, "node/0/1"),
        HelloPart([("live/cam", 7)], ["live/b", "live/c"]),
        NodeReport("node/1a2b", [StreamFacts("live/cam", 3, "avc1 mp4a", 2_500_000)]),
    )
]
URLS = [
    b"rtmp://alice:p%20w@h.example:1935/app/inst/cam?key=1",
    b"rtmps://[::1]:443/live/x",
    b"rtmp://h/app?vhost=a/cam",
    b"rtmpe://h/app/cam",
    b"rtmp://h/",
    b"RTMP://1.2.3.4/a/b/c/d",
]
_PROXY_V2 = bytes.fromhex("0d0a0d0a000d0a515549540a")
PROXY_HEADERS = [
    b"PROXY TCP4 192.0.2.1 198.51.100.1 50000 1935\r\n",
    b"PROXY TCP6 2001:db8::1 ::1 50000 1935\r\n\x03",
    b"PROXY UNKNOWN ffff::1 ::1 1 2\r\n",
    _PROXY_V2 + bytes.fromhex("2111000cc0000201c6336401c350078f"),
    _PROXY_V2 + bytes.fromhex("21210029") + bytes(36) + bytes.fromhex("0400020000") + b"\x03",
    _PROXY_V2 + bytes.fromhex("20000000"),
]
REJECTIONS = [
    b"[ AccessManager.Reject ] : [ authmod=adobe ] : ?reason=needauth&user=u&salt=s&challenge=c&opaque=o",
    b"[ code=403 need auth; authmod=llnw ]",
    b"authmod=llnw ?reason=needauth&user=u&nonce=5f.00 ]",
    b"authmod=adobe&user=alice&challenge=1&response=abc==&opaque=6553f100.00",
    b"authmod=llnw&user=alice&nonce=1.0",
]
