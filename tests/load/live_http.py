"""A small live stream over HTTP, made by the clock alone: FLV, MP4, WebSocket and low-latency HLS."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import ssl
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any
from urllib.parse import parse_qs, urlsplit

from wsproto.frame_protocol import FrameProtocol

from cluster.core.media.flv import encode_header, encode_tag
from cluster.core.message import MessageType
from cluster.load import synthetic

FRAMES_PER_S = 30
#: Frames of a segment, which begins with a keyframe, and of a part.
SEGMENT_FRAMES, PART_FRAMES = 15, 3
SEGMENT_PARTS = SEGMENT_FRAMES // PART_FRAMES
#: Segments that a playlist lists.
LISTED = 3
VIDEO, AUDIO = int(MessageType.VIDEO), int(MessageType.AUDIO)
_MAGIC_AT = {VIDEO: synthetic.VIDEO_MAGIC_AT, AUDIO: synthetic.AUDIO_MAGIC_AT}
_FRONT_BYTES = {VIDEO: 5, AUDIO: 2}


def stamped(type_id: int, number: int, sent_ns: int) -> bytes:
    """The frame of that number, as the body of an FLV tag."""
    body = bytearray(
        synthetic.video_payload(2000, number % SEGMENT_FRAMES)
        if type_id == VIDEO else synthetic.audio_payload(300)
    )  # fmt: skip
    at = _MAGIC_AT[type_id] + len(synthetic.MAGIC)
    body[at : at + synthetic.STAMP_BYTES] = synthetic.stamp(number, sent_ns)
    return bytes(body)


def box(name: bytes, *bodies: bytes) -> bytes:
    body = b"".join(bodies)
    return struct.pack(">I4s", len(body) + 8, name) + body


def full(name: bytes, flags: int, *bodies: bytes, version: int = 0) -> bytes:
    return box(name, struct.pack(">I", version << 24 | flags), *bodies)


def u32(*numbers: int) -> bytes:
    return struct.pack(f">{len(numbers)}I", *numbers)


#: Track number, handler and timescale, by message type.
_TRACKS = {VIDEO: (1, b"vide", 90_000), AUDIO: (2, b"soun", 44_100)}


def init_section() -> bytes:
    tracks = [
        box(
            b"trak", full(b"tkhd", 3, u32(0, 0, number)),
            box(b"mdia", full(b"mdhd", 0, u32(0, 0, scale, 0)), full(b"hdlr", 0, u32(0), handler)),
        )
        for number, handler, scale in _TRACKS.values()
    ]  # fmt: skip
    extends = [full(b"trex", 0, u32(number, 1, 0, 0, 0)) for number, _, _ in _TRACKS.values()]
    return box(b"ftyp", b"iso6") + box(b"moov", *tracks, box(b"mvex", *extends))


def fragment(frames: list[tuple[int, int, bytes]]) -> bytes:
    """A moof and its mdat of (message type, number, body) each; those of a type stand together."""
    data = {
        type_id: [(number, body[front:]) for each, number, body in frames if each == type_id]
        for type_id, front in _FRONT_BYTES.items()
    }
    sizes = {type_id: sum(len(each) for _, each in samples) for type_id, samples in data.items()}

    def moof(offset: int) -> bytes:
        parts = []
        for type_id, samples in data.items():
            track, _, scale = _TRACKS[type_id]
            rows = b"".join(
                u32(scale // FRAMES_PER_S, len(each), 0 if number % SEGMENT_FRAMES == 0 else 0x01010000)
                for number, each in samples
            )
            begins = struct.pack(">Q", samples[0][0] * scale // FRAMES_PER_S if samples else 0)
            parts.append(box(
                b"traf", full(b"tfhd", 0x020000, u32(track)), full(b"tfdt", 0, begins, version=1),
                full(b"trun", 0x701, u32(len(samples), offset), rows),
            ))  # fmt: skip
            offset += sizes[type_id]
        return box(b"moof", full(b"mfhd", 0, u32(1)), *parts)

    head = moof(len(moof(0)) + 8)
    return head + box(b"mdat", *(each for samples in data.values() for _, each in samples))


class LiveHttp:
    """Listens in a thread of its own: ``with running() as server``. ``requests`` counts paths without
    their numbers; ``answer``, if set, is asked first what to answer to a path instead (None: as usual)."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.port = 0
        self._tls = tls
        self.requests: Counter[str] = Counter()
        self.connections = 0
        self.answer: Callable[[str], bytes | None] = lambda path: None
        #: So many answers of HLS end a connection: one that says so, one that does not.
        self.answers_a_connection = 1_000_000
        self.says_close = True
        self._t0_ns = time.monotonic_ns() - 3_000_000_000
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._ready = threading.Event()
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    def url(self, suffix: str, scheme: str = "http") -> str:
        return f"{scheme}://localhost:{self.port}/live/test{suffix}"

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        server = await asyncio.start_server(self._connection, "127.0.0.1", 0, ssl=self._tls)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stop.wait()
        server.close()
        for writer in self._writers:
            writer.transport.abort()
        if self._tasks:  # they wait for a frame, and then see it
            await asyncio.wait(self._tasks, timeout=5)

    def start(self) -> threading.Thread:
        thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)
        thread.start()
        assert self._ready.wait(10)
        return thread

    def stop(self) -> None:
        assert self._loop is not None
        assert self._stop is not None
        self._loop.call_soon_threadsafe(self._stop.set)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.add(writer)
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        served = 0
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            while served < self.answers_a_connection:
                first = await reader.readexactly(1)
                if first == b"\x16":  # a TLS record
                    writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                    break
                lines = (first + await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
                served += 1
                last = self.says_close and served == self.answers_a_connection
                await self._answer(lines[0].split(" ")[1], lines, writer, last=last)
        self._writers.discard(writer)
        writer.close()

    async def _answer(
        self, target: str, lines: list[str], writer: asyncio.StreamWriter, *, last: bool
    ) -> None:
        parts = urlsplit(target)
        own = self.answer(target)
        if own is not None:
            writer.write(own)
            if b"Connection: close" in own:
                raise ConnectionAbortedError
        elif parts.path.endswith(".flv"):
            keys = [line.partition(": ")[2] for line in lines if line.startswith("Sec-WebSocket-Key")]
            await self._endless(writer, _flv_start(), _flv_frame, keys[0] if keys else "")
        elif parts.path == "/live/test.mp4":
            await self._endless(writer, init_section(), lambda frame: fragment([frame]), "")
        else:
            body, kind = await self._hls(parts.path, parse_qs(parts.query))
            close = "Connection: close\r\n" if last else ""
            writer.write(f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n{close}\r\n".encode() + body)
            self.requests[kind] += 1
        await writer.drain()

    def _frames(self, number: int) -> list[tuple[int, int, bytes]]:
        due_ns = self._due_ns(number)
        return [(type_id, number, stamped(type_id, number, due_ns)) for type_id in _TRACKS]

    def _due_ns(self, number: int) -> int:
        return self._t0_ns + number * 1_000_000_000 // FRAMES_PER_S

    def _newest(self) -> int:
        return (time.monotonic_ns() - self._t0_ns) * FRAMES_PER_S // 1_000_000_000

    async def _until(self, number: int) -> None:
        await asyncio.sleep(max(0, self._due_ns(number) - time.monotonic_ns()) / 1e9)

    async def _endless(
        self, writer: asyncio.StreamWriter, start: bytes, frame_of: Callable[[Any], bytes], key: str
    ) -> None:
        wrap: Callable[[bytes], bytes] = _web_socket if key else lambda data: data
        writer.write(_switching(key) if key else b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
        writer.write(wrap(start))
        number = self._newest() // SEGMENT_FRAMES * SEGMENT_FRAMES
        while True:
            await self._until(number)
            for frame in self._frames(number):
                writer.write(wrap(frame_of(frame)))
            await writer.drain()
            number += 1

    async def _hls(self, path: str, query: dict[str, list[str]]) -> tuple[bytes, str]:
        name = path.removeprefix("/live/")
        if name == "test.m3u8":
            return b"#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\ntest/media.m3u8\n", "multivariant"
        if name == "test/media.m3u8":
            if query:
                segment, part = int(query["_HLS_msn"][0]), int(query["_HLS_part"][0])
                await self._until(segment * SEGMENT_FRAMES + (part + 1) * PART_FRAMES)
            return self._playlist().encode(), "blocking" if query else "playlist"
        if name == "test/init.mp4":
            return init_section(), "init"
        segment, part = map(int, name.removeprefix("test/").split(".")[:2])
        first = segment * SEGMENT_FRAMES + part * PART_FRAMES
        frames = [each for number in range(first, first + PART_FRAMES) for each in self._frames(number)]
        return fragment(frames), "part"

    def _playlist(self) -> str:
        now = self._newest()
        open_segment, parts = now // SEGMENT_FRAMES, now % SEGMENT_FRAMES // PART_FRAMES
        lines = [
            "#EXTM3U", "#EXT-X-TARGETDURATION:1", f"#EXT-X-MEDIA-SEQUENCE:{open_segment - LISTED}",
            "#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK=0.3",
            "#EXT-X-PART-INF:PART-TARGET=0.1", '#EXT-X-MAP:URI="init.mp4"',
        ]  # fmt: skip
        for segment in range(open_segment - LISTED, open_segment + 1):
            complete = segment < open_segment
            for part in range(SEGMENT_PARTS if complete else parts):
                start = ",INDEPENDENT=YES" if part == 0 else ""
                lines.append(f'#EXT-X-PART:DURATION=0.1,URI="{segment}.{part}.m4s"{start}')
            lines += ["#EXTINF:0.5,", f"{segment}.m4s"] if complete else []
        return "\n".join([*lines, ""])


def _flv_start() -> bytes:
    headers = ((VIDEO, synthetic.VIDEO_HEADER), (AUDIO, synthetic.AUDIO_HEADER))
    tags = (b"".join(encode_tag(type_id, 0, body)) for type_id, body in headers)
    return encode_header(True, True) + b"".join(tags)


def _flv_frame(frame: tuple[int, int, bytes]) -> bytes:
    type_id, number, body = frame
    return b"".join(encode_tag(type_id, number * 1000 // FRAMES_PER_S, body))


def _switching(key: str) -> bytes:
    digest = hashlib.sha1(f"{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11".encode()).digest()
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + base64.b64encode(digest) + b"\r\n\r\n"
    )


def _web_socket(payload: bytes) -> bytes:
    return bytes(FrameProtocol(client=False, extensions=[]).send_data(payload))


@contextmanager
def running(tls: ssl.SSLContext | None = None) -> Iterator[LiveHttp]:
    server = LiveHttp(tls)
    thread = server.start()
    try:
        yield server
    finally:
        server.stop()
        thread.join(10)
