"""One look at a server and a stream: who it is, what it can, what it sends, and how soon."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field

from cluster.client.connecting import Connecting, ConnectOptions
from cluster.client.connection import Connection
from cluster.client.errors import RtmpError
from cluster.client.playback import Playback
from cluster.core.amf.values import AmfValue
from cluster.core.media.classify import MediaFlags, flags_of, is_coded
from cluster.core.media.describe import describe
from cluster.core.media.metadata import read_metadata
from cluster.core.message import Message, MessageType
from cluster.core.rtmp.capabilities import CapsEx
from cluster.core.rtmp.url import RtmpUrl

#: After the first frame, for what has not come by then: a keyframe, or a second medium.
WATCH_S = 5.0

_MEDIA = MediaFlags.VIDEO | MediaFlags.AUDIO | MediaFlags.METADATA
#: Of the properties that servers of all makes answer connect with, those that name the make.
_VERSION_PROPERTIES = ("fmsVer", "version", "srs_server", "srs_version")
_METADATA_SHOWN = (
    "width", "height", "framerate", "videodatarate", "audiodatarate", "audiosamplerate", "encoder",
)  # fmt: skip
#: Tracks a report lists for each medium.
_MAX_TRACKS = 32


@dataclass(slots=True)
class ProbeReport:
    """What was seen. Times in milliseconds from the first packet to the server; None: it did not come.

    ``problem`` says why there is no more, "" if nothing is missing.
    """

    url: str
    tls: str | None = None
    handshake: str = ""
    handshake_version: str = ""
    server: str = ""
    capabilities: list[str] = field(default_factory=list)
    fourccs: list[str] = field(default_factory=list)
    connected_ms: float | None = None
    playing_ms: float | None = None
    first_message_ms: float | None = None
    first_keyframe_ms: float | None = None
    video: list[str] = field(default_factory=list)
    audio: list[str] = field(default_factory=list)
    metadata: dict[str, AmfValue] = field(default_factory=dict)
    problem: str = ""


async def probe(url: RtmpUrl, options: ConnectOptions) -> ProbeReport:
    """Connect to ``url`` and play its stream, if it names one, until all is seen or WATCH_S have passed.

    Raises RtmpError if there is no connection; what fails later is the report's ``problem``.
    """
    return await _Probe(url).run(options)


class _Probe:
    def __init__(self, url: RtmpUrl) -> None:
        self._url = url
        self._began = time.perf_counter()  # finer than the clock of some loops
        self._report = ProbeReport(str(url))
        #: A frame has come.
        self._playing = False

    async def run(self, options: ConnectOptions) -> ProbeReport:
        async with Connecting(self._url, options) as connection:
            self._report.connected_ms = self._elapsed_ms()
            self._describe_server(connection)
            if self._url.key:
                try:
                    await self._watch(connection, options.timeout_s)
                except RtmpError as error:
                    self._report.problem = str(error)
        return self._report

    def _elapsed_ms(self) -> float:
        return round((time.perf_counter() - self._began) * 1000, 1)

    def _describe_server(self, connection: Connection) -> None:
        report = self._report
        report.url = str(connection.url)
        report.tls = connection.protocol.tls_version
        report.handshake = connection.handshake_kind
        report.handshake_version = ".".join(map(str, connection.peer_version))
        if isinstance(connection.properties, dict):
            named = (connection.properties.get(name) for name in _VERSION_PROPERTIES)
            report.server = " ".join(str(value) for value in named if value)
        caps_ex = CapsEx(connection.capabilities.caps_ex & sum(CapsEx))
        report.capabilities = [flag.name.lower() for flag in caps_ex if flag.name]
        listed = connection.capabilities
        fourccs = [*(listed.fourcc_list or ()), *dict(listed.video_fourccs), *dict(listed.audio_fourccs)]
        report.fourccs = list(dict.fromkeys(fourccs))

    async def _watch(self, connection: Connection, timeout_s: float) -> None:
        async with await connection.play() as playback:
            self._report.playing_ms = self._elapsed_ms()
            try:
                async with asyncio.timeout(timeout_s) as scope:
                    async for message in playback:
                        self._see(message)
                        if not self._playing and is_coded(message):
                            self._playing = True
                            scope.reschedule(asyncio.get_running_loop().time() + WATCH_S)
                        if self._report.first_keyframe_ms is not None and self._report.audio:
                            return
            except TimeoutError:
                if not self._playing:
                    self._report.problem = f"no audio or video within {timeout_s:g} s: is it published?"
            else:
                self._report.problem = _why_ended(playback)

    def _see(self, message: Message) -> None:
        report, at_ms = self._report, self._elapsed_ms()
        flags = flags_of(message.type_id, message.payload)
        if not flags & _MEDIA:  # data that a server sends to every player, stream or not
            return
        if report.first_message_ms is None:
            report.first_message_ms = at_ms
        if flags & MediaFlags.KEYFRAME and report.first_keyframe_ms is None:
            report.first_keyframe_ms = at_ms
        if flags & MediaFlags.DATA and flags & MediaFlags.METADATA:
            report.metadata = _shown_metadata(message)
        seen = report.video if message.type_id == MessageType.VIDEO else report.audio
        if flags & (MediaFlags.VIDEO | MediaFlags.AUDIO):
            for track in describe(message.type_id, message.payload).tracks:
                name = track.codec or "unknown"
                if track.track_id:
                    name += f" (track {track.track_id})"
                if name not in seen and len(seen) < _MAX_TRACKS:
                    seen.append(name)


def _why_ended(playback: Playback) -> str:
    status = playback.status
    return f"the stream ended: {status.code}" if status is not None else "the stream ended"


def _shown_metadata(message: Message) -> dict[str, AmfValue]:
    metadata = read_metadata(message.type_id, message.payload) or {}
    shown = {name: metadata.get(name) for name in _METADATA_SHOWN}
    return {name: value for name, value in shown.items() if isinstance(value, str | int | float)}
