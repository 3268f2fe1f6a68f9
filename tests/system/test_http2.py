"""HTTP/2 from a whole node, over TLS: curl takes HLS and media without end, with the workers it finds."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from cluster.core.media.flv import FlvReader
from support.cluster_process import Edge, StartEdge
from support.ffmpeg import Ffmpegs, hashes_of_file, make_clip
from support.hls_checker import parse
from support.polling import wait_until
from support.tls import CertificateFiles, make_certificate

CLIP_S = 8


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("h2-clip") / "clip.flv"
    make_clip(path, seconds=CLIP_S)
    return path


@pytest.fixture
def files(tmp_path: Path) -> CertificateFiles:
    return make_certificate(tmp_path)


def curl(files: CertificateFiles, urls: Sequence[str], *options: str) -> list[tuple[str, int, bytes]]:
    """What curl got for each: the version of HTTP, the status, and the body. All on one connection."""
    command = ["curl", "--silent", "--show-error", "--http2", "--cacert", str(files.cert), "--max-time", "60"]
    command += ["--write-out", "\\n#curl %{http_version} %{http_code}\\n", *options, *urls]
    said = subprocess.run(command, capture_output=True, check=True, timeout=90).stdout
    parts = re.split(rb"\n#curl (\S+) (\d+)\n", said)
    return [
        (parts[each + 1].decode(), int(parts[each + 2]), parts[each]) for each in range(0, len(parts) - 1, 3)
    ]


def publishing(start_edge: StartEdge, ffmpegs: Ffmpegs, files: CertificateFiles, clip: Path) -> tuple[Edge, str]:
    edge = start_edge("--workers", "2", "--http-tls", "127.0.0.1:0", *files.options)
    ffmpegs.publish(clip, edge.url("clip"), loop=True)
    return edge, str(edge.ready["https_addresses"][0])


def test_curl_takes_hls(
    start_edge: StartEdge, ffmpegs: Ffmpegs, files: CertificateFiles, clip: Path
) -> None:
    edge, server = publishing(start_edge, ffmpegs, files, clip)
    [(version, status, master)] = curl(files, [f"{server}/live/clip.m3u8"])
    assert (version, status) == ("2", 200)
    assert b"clip/media.m3u8" in master
    [(_, _, text)] = curl(files, [f"{server}/live/clip/media.m3u8"], "--location")
    listed = parse(text.decode())
    number = listed.segments[-1].number + 1
    waits = f"{server}/live/clip/media.m3u8?_HLS_msn={number}&_HLS_part=1"
    names = [listed.segments[-1].init, listed.segments[-1].uri]
    urls = [waits, f"{server}/live/clip/{number}.2.m4s", *(f"{server}/live/clip/{name}" for name in names)]
    got = curl(files, urls, "--location")
    assert [(version, status) for version, status, _ in got] == [("2", 200)] * 4
    assert f"{number}.0.m4s" in got[0][2].decode()
    assert got[1][2][4:8] == b"moof"
    assert got[2][2][4:8] == b"ftyp"
    assert len(got[3][2]) > 10_000
