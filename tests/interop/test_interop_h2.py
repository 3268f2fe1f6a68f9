"""Strangers' clients of HTTP/2: curl, nghttp and h2load, which is a load, take HLS from us."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from interop_cluster import Clips
from matrix import H264_AAC

from support.cluster_process import Edge
from support.ffmpeg import Publisher
from support.hls_checker import parse
from support.tls import CertificateFiles, make_certificate

_TIMEOUT_S = 60
#: Of one connection no more than a hundred are answered in a second.
_CONNECTIONS, _AT_ONCE, _REQUESTS = 20, 10, 4_000
#: They are sent on to the other worker for what this one does not have.
_ONE_WORKER = ["--workers", "1"]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> CertificateFiles:
    return make_certificate(tmp_path_factory.mktemp("h2-files"))


@pytest.fixture(scope="module")
def stream(
    tmp_path_factory: pytest.TempPathFactory, clips: Clips, files: CertificateFiles
) -> Iterator[str]:
    """The address of a stream that somebody publishes, without a suffix."""
    directory = tmp_path_factory.mktemp("h2")
    edge = Edge([*_ONE_WORKER, "--http-tls", "127.0.0.1:0", *files.options], directory / "edge.log")
    try:
        edge.wait_ready()
        log = directory / "publisher.log"
        publisher = Publisher(clips.of(H264_AAC), edge.url("clip"), log, loop=True)
        yield f"https://localhost:{edge.https_port}/live/clip"
        publisher.end()
        assert edge.stop() == 0, edge.log_text()
        assert "Traceback" not in edge.log_text(), edge.log_text()
    finally:
        edge.kill()


def run(name: str, package: str, *arguments: str) -> str:
    """What it says."""
    if shutil.which(name) is None:
        pytest.skip(f"{name} is not installed: {package}")
    command = [name, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=_TIMEOUT_S).stdout


def curl(files: CertificateFiles, *arguments: str) -> str:
    usual = "--silent", "--show-error", "--http2", "--cacert", str(files.cert)
    return run("curl", "curl", *usual, *arguments)


def test_curl_takes_a_playlist_it_waits_for_and_what_is_in_it(
    stream: str, files: CertificateFiles, tmp_path: Path
) -> None:
    assert "clip/media.m3u8" in curl(files, f"{stream}.m3u8")
    listed = parse(curl(files, f"{stream}/media.m3u8"))
    number = listed.segments[-1].number + 1
    said = curl(
        files, "--compressed", "--parallel", "--write-out", "%{http_version} %{http_code}\\n",
        *(option for each, name in enumerate((
            f"media.m3u8?_HLS_msn={number}&_HLS_part=1", f"{number}.2.m4s", listed.segments[-1].init,
            listed.segments[-1].uri,
        )) for option in ("--output", str(tmp_path / str(each)), f"{stream}/{name}")),
    )  # fmt: skip
    assert said.split("\n") == ["2 200"] * 4 + [""]
    text = (tmp_path / "0").read_text()
    assert parse(text).segments
    assert f"{number}.0.m4s" in text
    assert (tmp_path / "1").read_bytes()[4:8] == b"moof"
    assert (tmp_path / "2").read_bytes()[4:8] == b"ftyp"


def test_nghttp_takes_several_at_once(stream: str) -> None:
    said = run(
        "nghttp", "nghttp2-client", "--null-out", "--verbose", "--no-verify-peer", "--timeout=30",
        f"{stream}.m3u8", f"{stream}/media.m3u8", stream,
    )  # fmt: skip
    assert said.count(":status: 200") == 3
    assert "The negotiated protocol: h2" in said
    assert "error_code=NO_ERROR(0x00)" in said or "GOAWAY" not in said


@pytest.mark.parametrize("name", [".m3u8", "/media.m3u8", ""])
def test_h2load_is_answered_all_it_asks(stream: str, name: str) -> None:
    said = run(
        "h2load", "nghttp2-client", f"--requests={_REQUESTS}", f"--clients={_CONNECTIONS}",
        f"--max-concurrent-streams={_AT_ONCE}", f"{stream}{name}",
    )  # fmt: skip
    print(*re.findall(r"finished in .*|time for request: .*", said), sep="\n")
    assert f"{_REQUESTS} succeeded, 0 failed, 0 errored, 0 timeout" in said
