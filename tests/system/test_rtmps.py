"""RTMPS: FFmpeg over TLS, the certificate renewed under way, wrong ports, and peers that stall."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import socket
import ssl
import subprocess
import sys
from pathlib import Path

import pytest

from support.cluster_process import ROOT, Edge, StartEdge
from support.ffmpeg import Ffmpegs, hashes_of_file, make_clip
from support.polling import wait_until
from support.rtmp_peer import FRAMES_PER_SECOND, Peers
from support.tls import CertificateFiles, make_certificate

BIND = ["--bind-tls", "127.0.0.1:0"]
TIMEOUT_S = 30.0
HANDSHAKE_TIMEOUT_S = 1.0
CLIP_S = 4
MIB = 1024 * 1024


@pytest.fixture
def files(tmp_path: Path) -> CertificateFiles:
    return make_certificate(tmp_path)


@pytest.fixture(scope="module")
def short_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """4 s of H.264 and AAC: what is looked at is that TLS changes nothing."""
    path = tmp_path_factory.mktemp("rtmps-clip") / "clip.flv"
    make_clip(path, seconds=CLIP_S)
    return path


def _closes(edge: Edge) -> dict[str, float]:
    return edge.metrics().by("reason", "closes_total")


def _served_certificate(edge: Edge) -> str:
    """The fingerprint of the certificate that a new connection is shown."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with (
        socket.create_connection(("127.0.0.1", edge.tls_port), timeout=TIMEOUT_S) as plain,
        context.wrap_socket(plain) as peer,
    ):
        return hashlib.sha256(peer.getpeercert(binary_form=True) or b"").hexdigest()


def _fingerprint(files: CertificateFiles) -> str:
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(files.cert.read_text())).hexdigest()


def test_ffmpeg_publishes_and_plays_over_tls_and_plain_alike(
    start_edge: StartEdge, ffmpegs: Ffmpegs, files: CertificateFiles, short_clip: Path
) -> None:
    source = hashes_of_file(short_clip, short_clip.with_name("source"))
    edge = start_edge("--workers", "2", *BIND, *files.options)
    players = {url: ffmpegs.play(url) for url in (edge.tls_url("clip"), edge.url("clip"))}
    wait_until(lambda: edge.metrics().total("players") == len(players), "the players to wait")
    publisher = ffmpegs.publish(short_clip, edge.tls_url("clip"))
    assert publisher.wait(CLIP_S + 30.0) == 0, publisher.log_text()
    for url, player in players.items():
        got = player.wait_for_last(source, 30)
        assert [packet.digest for packet in got.video] == [packet.digest for packet in source.video], url
        assert [packet.digest for packet in got.audio] == [packet.digest for packet in source.audio], url


def test_the_ready_line_names_the_tls_addresses(start_edge: StartEdge, files: CertificateFiles) -> None:
    edge = start_edge("--workers", "1", *BIND, *BIND, *files.options)
    tls_addresses = edge.ready["tls_addresses"]
    assert len(tls_addresses) == 2
    assert not set(tls_addresses) & set(edge.ready["addresses"])
    assert f"with TLS on {', '.join(tls_addresses)}" in edge.ready["message"]


def test_a_renewed_certificate_is_served_to_those_who_come_next(
    start_edge: StartEdge, peers: Peers, files: CertificateFiles, tmp_path: Path
) -> None:
    edge = start_edge("--workers", "1", *BIND, *files.options)
    peers.publish(edge, "renewed", tls=files.client_context())
    player = peers.play(edge, "renewed", tls=files.client_context())
    assert _served_certificate(edge) == _fingerprint(files)

    other = make_certificate(tmp_path, "other")
    shutil.copyfile(other.key, files.key)  # a key that is not its certificate's: bad until both are there
    wait_until(lambda: edge.events("certificate_refused"), "the bad key to be reported", TIMEOUT_S)
    assert _served_certificate(edge) != _fingerprint(other)
    os.replace(other.cert, files.cert)
    wait_until(lambda: edge.events("certificate_reloaded"), "the certificate to be read again", TIMEOUT_S)
    assert _served_certificate(edge) == _fingerprint(files)
    assert len(edge.events("certificate_refused")) == 1

    frames = len(player.frames)  # of a connection that began with the old certificate
    player.wait_for_frames(frames + 10)
    assert player.gaps() == []


def test_wrong_ports_and_bad_handshakes_end_with_a_reason(
    start_edge: StartEdge, files: CertificateFiles
) -> None:
    edge = start_edge(
        "--workers", "1", "--handshake-timeout", str(HANDSHAKE_TIMEOUT_S), *BIND, *files.options
    )
    _send(edge.tls_port, b"\x03" + bytes(1536))
    _wait_for_closes(edge, {"not_tls": 1})
    assert "rtmps://" in _last_close(edge)
    with pytest.raises(OSError, match=r"(?i)record|eof|reset|closed"), _connect(edge.port) as plain:
        ssl.create_default_context().wrap_socket(plain, server_hostname="localhost")
    _wait_for_closes(edge, {"not_tls": 1, "not_rtmp": 1})
    assert "use rtmp://, or rtmps:// at one of --bind-tls" in _last_close(edge)
    with pytest.raises(ssl.SSLCertVerificationError), _connect(edge.tls_port) as plain:
        ssl.create_default_context().wrap_socket(plain, server_hostname="localhost")
    _wait_for_closes(edge, {"not_tls": 1, "not_rtmp": 1, "tls_failed": 1})
    assert "UNKNOWN_CA" in _last_close(edge)
    with _connect(edge.tls_port) as half, _connect(edge.tls_port) as plain:
        half.sendall(b"\x16\x03\x01\x02\x00\x01")  # the beginning of a ClientHello, and no more
        context = files.client_context()
        with context.wrap_socket(plain, server_hostname="localhost") as peer:  # and then no RTMP
            assert peer.recv(1) == b""
        _read_to_end(half)
    _wait_for_closes(edge, {"not_tls": 1, "not_rtmp": 1, "tls_failed": 1, "handshake_timeout": 2})
    wait_until(lambda: edge.metrics().total("connections") == 0, "no connection to be counted as open")


def _connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_S)


def _send(port: int, data: bytes) -> None:
    """Send it and wait for the server to close."""
    with _connect(port) as plain:
        plain.sendall(data)
        _read_to_end(plain)


def _read_to_end(plain: socket.socket) -> None:
    with contextlib.suppress(ConnectionResetError):
        while plain.recv(65536):
            pass


def _wait_for_closes(edge: Edge, expected: dict[str, float]) -> None:
    wait_until(lambda: _closes(edge) == expected, f"the closes to be {expected}", TIMEOUT_S)


def _last_close(edge: Edge) -> str:
    return str(edge.events("connection_closed")[-1]["message"])


@pytest.mark.parametrize(
    ("files_of", "says"),
    [
        (lambda one, other: ["--tls-cert", str(one.cert)], "--tls-key missing"),
        (lambda one, other: [*one.options[:3], str(one.key.with_name("absent"))], "No such file"),
        (lambda one, other: [*one.options[:2], *other.options[2:]], "does not belong to the certificate"),
    ],
    ids=["no key given", "no such key", "another's key"],
)
def test_a_certificate_that_cannot_be_used_ends_the_command_with_one_line(
    files: CertificateFiles, tmp_path: Path, files_of: object, says: str
) -> None:
    arguments = files_of(files, make_certificate(tmp_path, "other"))  # type: ignore[operator]
    ended = subprocess.run(
        [sys.executable, "-m", "cluster", "edge", "--bind", "127.0.0.1:0", *BIND, *arguments],
        cwd=ROOT, capture_output=True, text=True, timeout=30,
    )  # fmt: skip
    assert ended.returncode != 0
    assert ended.stderr.count("\n") == 1, ended.stderr
    assert says in ended.stderr


def test_an_expired_certificate_is_served_with_one_warning(start_edge: StartEdge, tmp_path: Path) -> None:
    files = make_certificate(tmp_path, days_from_now=(-3, -1))
    edge = start_edge("--workers", "2", *BIND, *files.options)
    (warning,) = edge.events("certificate_warning")
    assert "certificate has expired" in warning["message"]
    assert _served_certificate(edge) == _fingerprint(files)


@pytest.mark.alone
def test_a_slow_tls_player_is_moved_on_and_reads_whole_messages(
    start_edge: StartEdge, peers: Peers, files: CertificateFiles
) -> None:
    """Its record that was cut, and the log moved on below it: the stream must still decrypt and parse."""
    edge = start_edge(
        "--workers", "1", *BIND, *files.options,
        "--log-bytes", str(16 * MIB), "--slow-skip", "1.5", "--slow-close", "30",
    )  # fmt: skip
    tls = files.client_context()
    peers.publish(edge, "slow", bits_per_second=40_000_000, tls=tls)
    healthy = peers.play(edge, "slow", tls=tls)
    slow = peers.play(edge, "slow", tls=tls, receive_buffer_bytes=64 * 1024)
    slow.wait_for_frames(1)
    slow.stop_reading()
    skips = "player_skips_total"
    wait_until(lambda: edge.metrics().total(skips) >= 1, "the player to be moved on")
    slow.read_on()
    wait_until(slow.gaps, "a gap at the player that reads on")
    after = slow.gaps()[0][1]
    wait_until(lambda: slow.frames[-1].sequence > after + FRAMES_PER_SECOND, "it to go on")
    assert next(frame for frame in slow.frames if frame.sequence == after).keyframe
    assert not slow.closed
    assert not healthy.closed
    assert healthy.gaps() == []
