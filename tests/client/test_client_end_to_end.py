"""The library with a real edge and FFmpeg: packets in, the same packets out."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from cluster.client import (
    Backoff,
    ConnectionClosed,
    FlvSink,
    FlvSource,
    PlayFailed,
    PublishRefused,
    Tls,
    Unreachable,
    connect,
    reconnecting,
)
from cluster.client.connecting import ConnectOptions
from cluster.client.playback import Playback
from cluster.client.probe import probe
from cluster.core.media.classify import MediaFlags, flags_of
from cluster.core.media.flv import encode_header, encode_tag
from cluster.core.media.metadata import encode_metadata
from cluster.core.rtmp.url import RtmpUrl
from support.cluster_process import Edge, kill_worker
from support.ffmpeg import Ffmpegs, Packets, hashes_of_file
from support.scripted_server import SEQUENCE_HEADER, key_frame, until
from support.tls import make_certificate


@pytest.fixture
def ffmpegs(tmp_path: Path) -> Iterator[Ffmpegs]:
    """FFmpeg children; all are ended with the test."""
    ffmpegs = Ffmpegs(tmp_path)
    try:
        yield ffmpegs
    finally:
        ffmpegs.end()


def digests(packets: Packets) -> tuple[list[str], list[str]]:
    return [p.digest for p in packets.video], [p.digest for p in packets.audio]


def steps(packets: Packets) -> list[int]:
    return [after.dts - before.dts for before, after in itertools.pairwise(packets.video)]


def test_what_we_publish_ffmpeg_and_we_play(
    edge: Edge, ffmpegs: Ffmpegs, short_clip: Path, short_source: Packets, tmp_path: Path
) -> None:
    url = edge.url("ours")
    player = ffmpegs.play(url)

    async def record(playback: Playback) -> None:
        with FlvSink(tmp_path / "got.flv") as sink:
            async for message in playback:
                sink.write(message)

    async def work() -> None:
        await until(lambda: edge.metrics().total("players") >= 1, "FFmpeg to wait")
        async with connect(url) as playing, await playing.play() as playback:
            recording = asyncio.ensure_future(record(playback))
            async with (
                connect(url, publisher=True) as publishing,
                await publishing.publish() as publication,
            ):
                async for message in FlvSource(short_clip):
                    await publication.send(message)
            await recording

    asyncio.run(work())
    assert digests(player.wait_for_last(short_source, 30)) == digests(short_source)
    got = hashes_of_file(tmp_path / "got.flv", tmp_path / "got")
    assert digests(got) == digests(short_source)
    assert steps(got) == steps(short_source)


def test_what_ffmpeg_publishes_over_tls_we_play(
    ffmpegs: Ffmpegs, short_clip: Path, short_source: Packets, tmp_path: Path
) -> None:
    files = make_certificate(tmp_path)
    tls_edge = Edge(
        ["--workers", "1", "--publish-grace", "0", "--bind-tls", "127.0.0.1:0", *files.options],
        tmp_path / "edge.log",
    )

    async def work() -> None:
        url = tls_edge.tls_url("clip")
        with pytest.raises(Unreachable, match="not accepted"):
            await connect(url)
        tls = Tls(ca_file=files.cert)
        async with connect(url, tls=tls) as connection, await connection.play() as playback:
            publisher = ffmpegs.publish(short_clip, url)
            with FlvSink(tmp_path / "got.flv") as sink:
                async for message in playback:
                    sink.write(message)
            assert publisher.wait(5) == 0, publisher.log_text()

    try:
        tls_edge.wait_ready()
        asyncio.run(work())
        assert digests(hashes_of_file(tmp_path / "got.flv", tmp_path / "got")) == digests(short_source)
        assert tls_edge.stop() == 0
    finally:
        tls_edge.kill()


def test_the_edge_refuses_in_words(edge: Edge) -> None:
    async def work() -> None:
        url = edge.url("taken")
        async with connect(url) as first, await first.publish(), connect(url) as second:
            with pytest.raises(PublishRefused) as caught:
                await second.publish()
            assert caught.value.code == "NetStream.Publish.BadName"
            assert "already being published" in caught.value.description
            await second.wait_closed()
            with pytest.raises(ConnectionClosed):
                await second.call("anything")

    asyncio.run(work())


def test_the_edge_does_not_seek(edge: Edge) -> None:
    async def work() -> None:
        async with connect(edge.url("seeking")) as connection, await connection.play() as playback:
            with pytest.raises(PlayFailed, match="Seek"):
                await playback.seek(1000)
            assert (await playback.pause()).code == "NetStream.Pause.Notify"
            assert (await playback.resume()).code == "NetStream.Unpause.Notify"
            await playback.receive_audio(False)
            await connection.ping()
            await until(lambda: connection.rtt_ms is not None, "a pong")

    asyncio.run(work())


def test_a_large_keyframe_index_reaches_players_as_it_is(edge: Edge, tmp_path: Path) -> None:
    """Forty thousand objects: twelve times over what a command may hold; nobody on the way reads them."""
    index = [{"time": float(n), "position": float(n)} for n in range(40_000)]
    metadata = encode_metadata({"width": 640.0, "index": index})
    path, url = tmp_path / "long.flv", edge.url("long-index")
    tags = [(18, 0, metadata), (9, 0, SEQUENCE_HEADER), *((9, n * 40, key_frame(n)) for n in range(50))]
    path.write_bytes(encode_header(True, True) + b"".join(b"".join(encode_tag(*tag)) for tag in tags))

    async def work() -> None:
        async with (
            connect(url, publisher=True) as publishing, await publishing.publish() as publication,
        ):  # fmt: skip
            async def send() -> None:
                async for message in FlvSource(path):
                    await publication.send(message)

            sending = asyncio.ensure_future(send())
            report = await probe(RtmpUrl.parse(url), ConnectOptions())
            assert report.metadata == {"width": 640.0}, report
            async with connect(url) as playing, await playing.play() as playback:
                async for message in playback:
                    if message.type_id == 18 and b"onMetaData" in bytes(message.payload[:20]):
                        assert bytes(message.payload) == metadata
                        break
            await sending

    asyncio.run(work())


def test_a_probe_tells_who_what_and_how_soon(edge: Edge, short_clip: Path) -> None:
    async def work() -> None:
        url = RtmpUrl.parse(edge.url("probed"))
        async with connect(url) as connection, await connection.publish() as publication:
            async for message in FlvSource(short_clip, realtime=False):
                await publication.send(message)
            report = await probe(url, ConnectOptions())
        assert report.problem == ""
        assert report.handshake == "digest-first"
        assert report.server
        assert "mod_ex" in report.capabilities
        assert (report.video, report.audio) == (["avc1"], ["mp4a"])
        assert report.metadata["width"] == 640
        times = [report.connected_ms, report.playing_ms, report.first_message_ms, report.first_keyframe_ms]
        assert None not in times
        assert times == sorted(times, key=float)  # type: ignore[arg-type]
        missing = await probe(RtmpUrl.parse(edge.url("missing")), ConnectOptions(timeout_s=0.2))
        assert "no audio or video within 0.2 s" in missing.problem
        assert missing.connected_ms is not None
        assert missing.first_keyframe_ms is None

    asyncio.run(work())


def test_a_killed_worker_costs_neither_publisher_nor_player_the_stream(
    edge: Edge, short_clip: Path
) -> None:
    async def work() -> None:
        again = reconnecting(edge.url("lasting"), backoff=Backoff(first_s=0.05, max_s=0.5))
        async with again.publish() as publication, again.play() as playback:

            async def publish() -> None:
                async for message in FlvSource(short_clip, loop=True):
                    await publication.send(message)

            publishing = asyncio.ensure_future(publish())
            killed, keyframes_after, stamps = False, 0, []
            async for message in playback:
                flags = flags_of(message.type_id, message.payload)
                if flags & MediaFlags.VIDEO and not flags & MediaFlags.SEQUENCE_HEADER:
                    stamps.append(message.timestamp)
                    keyframes_after += bool(killed and flags & MediaFlags.KEYFRAME)
                if not killed and len(stamps) > 10:
                    killed = True
                    kill_worker(worker_of(edge, publication._publication))
                if publication.reconnects and keyframes_after >= 2:
                    break
            publishing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await publishing
        assert publication.reconnects == 1
        assert stamps == sorted(stamps)
        assert len(stamps) == len(set(stamps))

    asyncio.run(asyncio.wait_for(work(), 60))


def worker_of(edge: Edge, publication: Any) -> int:
    """The worker that holds this publication's connection."""
    port = publication.connection.protocol._transport.get_extra_info("sockname")[1]
    for pid in edge.workers().values():
        with contextlib.suppress(psutil.NoSuchProcess):
            if any(c.raddr and c.raddr.port == port for c in psutil.Process(pid).net_connections("tcp")):
                return pid
    raise AssertionError(f"no worker has a connection from port {port}")
