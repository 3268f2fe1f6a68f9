"""Every mistake of ``mistakes.txt`` is typed; exit code and line are compared. No traceback, ever."""

from __future__ import annotations

import contextlib
import http.server
import os
import re
import shlex
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from cluster.bus import cluster_key
from cluster.commands.main import run
from cluster.core.media.flv import encode_header, encode_tag
from cluster.core.message import MessageType
from support.cluster_process import ROOT, Edge
from support.rtmp_peer import Peers
from support.scripted_server import SEQUENCE_HEADER, inter_frame, key_frame
from support.tls import make_certificate

TIMEOUT_S = 60.0
FILES = {
    "film.mp4": b"\x00\x00\x00\x20ftypisom" + bytes(100),
    "text.flv": b"not a film",
    "empty.flv": b"",
    "headers.flv": encode_header(True, True) + b"".join(encode_tag(MessageType.VIDEO, 0, SEQUENCE_HEADER)),
    "misspelt.toml": b"[node]\nwrokers = 2\nnode_name = 3\n[networks]\n",
    "listed.toml": b'[network]\nbind = [":1,:2"]\n',
    "broken.toml": b"[node\n",
    "bad.key": b"no key\n",
}


class Mistake(NamedTuple):
    """What is ``typed`` as in a shell, and all that is said on stderr."""

    typed: str
    code: int
    lines: list[str]


def mistakes(section: str) -> list[Mistake]:
    """Those under the heading that begins so."""
    _, _, text = Path(__file__).with_name("mistakes.txt").read_text().partition(f"## {section}")
    found = re.findall(r"^\$ (.+)\n((?:… .+\n)*)(\d) (.+)$", text.partition("\n## ")[0], re.MULTILINE)
    return [
        Mistake(typed, int(code), [*(each[2:] for each in before.splitlines()), line])
        for typed, before, code, line in found
    ]


TYPED_WRONG = mistakes("What is wrong before")
MET = mistakes("What meets a port")


def film() -> bytes:
    """Two seconds of video."""
    frames = (inter_frame(number) if number % 25 else key_frame(number) for number in range(50))
    tags = [encode_tag(MessageType.VIDEO, 40 * number, frame) for number, frame in enumerate(frames)]
    return FILES["headers.flv"] + b"".join(b"".join(tag) for tag in tags)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A folder with files, and certificates: what mistakes are made with."""
    folder = tmp_path_factory.mktemp("place")
    for name, data in {**FILES, "film.flv": film()}.items():
        (folder / name).write_bytes(data)
        (folder / name).chmod(0o600 if name == "bad.key" else 0o644)
    cluster_key.generate(folder)
    certificate, other = make_certificate(folder, "edge"), make_certificate(folder, "other")
    (folder / ("long" * 25)).mkdir()
    named = {"folder": folder, "cert": certificate.cert, "key": certificate.key, "other_key": other.key}
    return {name: str(path) for name, path in {**named, "long": folder / ("long" * 25)}.items()}


@pytest.fixture(scope="module")
def ports(place: dict[str, str]) -> Iterator[dict[str, int]]:
    """An edge with a stream, ports that answer otherwise or not at all, and one where nobody is."""
    with contextlib.ExitStack() as stack:
        listen = (socket.create_server(("127.0.0.1", 0)) for _ in range(3))
        taken, mute, closed = (stack.enter_context(each) for each in listen)
        nobody = closed.getsockname()[1]
        closed.close()
        web = stack.enter_context(http.server.ThreadingHTTPServer(("127.0.0.1", 0), Silent))
        threading.Thread(target=web.serve_forever, daemon=True).start()
        stack.callback(web.shutdown)
        options = ["--workers", "1", "--play-wait", "1", "--bind-tls", "127.0.0.1:0"]
        certificate = ["--tls-cert", place["cert"], "--tls-key", place["key"]]
        edge = Edge([*options, *certificate], Path(place["folder"]) / "edge.log")
        stack.callback(edge.kill)
        edge.wait_ready()
        peers = Peers()
        stack.callback(peers.close)
        peers.publish(edge, "taken").wait_granted()
        yield {
            "taken": taken.getsockname()[1], "mute": mute.getsockname()[1], "nobody": nobody,
            "http": web.server_address[1], "edge": edge.port, "tls": edge.tls_port,
        }  # fmt: skip


class Silent(http.server.BaseHTTPRequestHandler):
    """Answers what is no HTTP, and writes no log."""

    def log_message(self, format: str, *args: object) -> None:
        pass


def words(mistake: Mistake, **names: object) -> tuple[dict[str, str], list[str]]:
    """The variables and the arguments of what is typed."""
    variables: dict[str, str] = {}
    typed = shlex.split(mistake.typed.format(**names))
    while typed[0] != "rtmp-cluster":
        name, _, value = typed.pop(0).partition("=")
        variables[name] = value
    return variables, typed[1:]


def check(mistake: Mistake, code: int, err: str, **names: object) -> None:
    assert code == mistake.code, err
    assert "Traceback" not in err
    said = err.splitlines()
    assert len(said) == len(mistake.lines), err
    for line, expected in zip(said, mistake.lines, strict=True):
        parts = expected.format(**names).split("…")
        assert re.fullmatch(".*".join(map(re.escape, parts)), line), line


@pytest.mark.parametrize("mistake", TYPED_WRONG, ids=lambda mistake: mistake.typed)
def test_what_is_typed_wrong(
    mistake: Mistake,
    place: dict[str, str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    names = {**place, "nobody": 1}
    variables, arguments = words(mistake, **names)
    monkeypatch.chdir(place["folder"])
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    code = run(arguments)
    out, err = capsys.readouterr()
    check(mistake, code, err, **names)
    assert out == ""


@pytest.mark.parametrize("mistake", MET, ids=lambda mistake: mistake.typed)
def test_what_is_met(mistake: Mistake, place: dict[str, str], ports: dict[str, int]) -> None:
    names: dict[str, object] = {**place, **ports}
    variables, arguments = words(mistake, **names)
    output = arguments.pop() if ">" in arguments else os.devnull
    with open(output, "w") as stdout:
        process = subprocess.run(
            [sys.executable, "-m", "cluster", *(each for each in arguments if each != ">")],
            cwd=place["folder"], env={**os.environ, "PYTHONPATH": str(ROOT), **variables},
            stdin=subprocess.DEVNULL, stdout=stdout, stderr=subprocess.PIPE, text=True, timeout=TIMEOUT_S,
        )  # fmt: skip
    check(mistake, process.returncode, process.stderr, **names)


def test_none_is_left_out() -> None:
    written = Path(__file__).with_name("mistakes.txt").read_text().count("\n$ ")
    assert len({mistake.typed for mistake in (*TYPED_WRONG, *MET)}) == written >= 60
