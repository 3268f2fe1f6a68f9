"""Every mistake of ``mistakes.txt`` is typed; exit code and line are compared. No traceback, ever."""

from __future__ import annotations

import contextlib
import http.server
import json
import os
import re
import shlex
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from cluster.bus import cluster_key
from cluster.commands.main import run
from cluster.core.media.flv import encode_header, encode_tag
from cluster.core.message import MessageType
from support.cluster_process import ROOT, ROUTER_PORTS, ClusterProcess, Edge, free_router_address
from support.polling import wait_until
from support.rtmp_peer import Peers
from support.scripted_server import SEQUENCE_HEADER, inter_frame, key_frame
from support.tls import make_certificate

TIMEOUT_S = 60.0
SIDE_BY_SIDE = 4
#: For a line in the log.
WAIT_S = 20.0
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
    """What is ``typed`` as in a shell, and what is said."""

    typed: str
    code: int
    lines: list[str]


def mistakes(section: str) -> list[Mistake]:
    """Those under the heading that begins so."""
    _, _, text = Path(__file__).with_name("mistakes.txt").read_text().partition(f"## {section}")
    found = re.findall(r"^\$ (.+)\n((?:… .+\n)*)([\d ]) (.+)$", text.partition("\n## ")[0], re.MULTILINE)
    return [
        Mistake(typed, int(code.strip() or "0"), [*(each[2:] for each in before.splitlines()), line])
        for typed, before, code, line in found
    ]


TYPED_WRONG = mistakes("What is wrong before")
MET = mistakes("What meets a port")
RUNNING_ON = mistakes("What runs on")


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
    for keys in (folder, folder / "other"):
        cluster_key.generate(keys)
    certificate, other = make_certificate(folder, "edge"), make_certificate(folder, "other")
    (folder / ("long" * 25)).mkdir()
    named = {"folder": folder, "cert": certificate.cert, "key": certificate.key, "other_key": other.key}
    return {name: str(path) for name, path in {**named, "long": folder / ("long" * 25)}.items()}


@pytest.fixture(scope="module")
def ports(place: dict[str, str]) -> Iterator[dict[str, object]]:
    """An edge with a stream, a router with a node, ports that answer otherwise or not at all, and one that
    is nobody's."""
    folder = Path(place["folder"])
    with contextlib.ExitStack() as stack:
        taken, mute = (stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(2))
        nobodys, hung = held(stack, listening=False), held(stack, listening=True)
        web = stack.enter_context(http.server.ThreadingHTTPServer(("127.0.0.1", 0), Silent))
        threading.Thread(target=web.serve_forever, daemon=True).start()
        stack.callback(web.shutdown)

        key = ["--cluster-key", str(folder / "cluster.key")]
        router = ClusterProcess(["router", "--bind", "tcp://127.0.0.1:0", *key], folder / "router.log")
        stack.callback(router.kill)
        router.wait_ready()
        address = str(router.ready["endpoint"])
        options = ["--workers", "1", "--node-name", "twin", "--router", address, *key]
        twin = Edge(options, folder / "twin.log")
        stack.callback(twin.kill)
        options = ["--workers", "1", "--play-wait", "1", "--bind-tls", "127.0.0.1:0"]
        certificate = ["--tls-cert", place["cert"], "--tls-key", place["key"]]
        edge = Edge([*options, *certificate], folder / "edge.log")
        stack.callback(edge.kill)
        for each in (twin, edge):
            each.wait_ready()
        peers = Peers()
        stack.callback(peers.close)
        peers.publish(edge, "taken").wait_granted()
        yield {
            "taken": taken.getsockname()[1], "mute": mute.getsockname()[1],
            "nobody": port_of(nobodys), "http": web.server_address[1],
            "edge": edge.port, "tls": edge.tls_port, "router": address, "hung": hung,
        }  # fmt: skip


def held(stack: contextlib.ExitStack, *, listening: bool) -> str:
    """A router's address whose ports are nobody else's: they leave who connects waiting, or refuse it."""
    address = free_router_address()
    for port in range(port_of(address), port_of(address) + ROUTER_PORTS):
        holder = stack.enter_context(socket.socket())
        holder.bind(("127.0.0.1", port))
        if listening:
            holder.listen()
    return address


def port_of(address: str) -> int:
    return int(address.rpartition(":")[2])


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


#: Said by a client that has waited for a moment: on a busy machine.
_ONLY_IF_SLOW = re.compile(r".*: waiting for the server|waiting for an answer of .*")


def check(mistake: Mistake, code: int, said: str, **names: object) -> None:
    assert code == mistake.code, said
    assert "Traceback" not in said
    is_expected = any(map(_ONLY_IF_SLOW.fullmatch, mistake.lines))
    lines = [line for line in said.splitlines() if is_expected or not _ONLY_IF_SLOW.fullmatch(line)]
    assert len(lines) == len(mistake.lines), said
    for line, expected in zip(lines, mistake.lines, strict=True):
        assert matches(line, expected, **names), line


def matches(line: str, expected: str, **names: object) -> bool:
    parts = expected.format(**names).split("…")
    return re.fullmatch(".*".join(map(re.escape, parts)), line) is not None


def complaints(table: str) -> str:
    """The lines of ``status`` that begin with "!", each whole again."""
    found = re.findall(r"^!.*(?:\n  .*)*", table, re.MULTILINE)
    return "\n".join(" ".join(each.split()) for each in found)


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


def started(mistake: Mistake, names: dict[str, object], **streams: Any) -> subprocess.Popen[str]:
    variables, arguments = words(mistake, **names)
    variables = {"PYTHONPATH": str(ROOT), "RTMP_CLUSTER_WORKERS": "1", **variables}
    return subprocess.Popen(
        [sys.executable, "-m", "cluster", *arguments], cwd=str(names["folder"]), text=True,
        env={**os.environ, **variables}, stdin=subprocess.DEVNULL, **streams,
    )  # fmt: skip


def to_the_end(mistake: Mistake, names: dict[str, object]) -> tuple[int, str]:
    """The exit code, and what it has said; ``> FILE`` is understood."""
    typed, _, path = mistake.typed.partition(" > ")
    with contextlib.ExitStack() as stack:
        output = stack.enter_context(open(path, "w")) if path else subprocess.PIPE
        process = started(mistake._replace(typed=typed), names, stdout=output, stderr=subprocess.PIPE)
        try:
            out, err = process.communicate(timeout=TIMEOUT_S)
        finally:
            process.kill()
    return process.returncode, err + complaints(out or "")


def until_it_is_said(mistake: Mistake, names: dict[str, object]) -> tuple[int, str]:
    """The exit code of a command that is ended once its log has the line, and the log without times."""
    with tempfile.NamedTemporaryFile("w") as output:
        process = started(mistake, names, stdout=output, stderr=output)

        def log() -> str:
            lines = Path(output.name).read_text().splitlines(keepends=True)
            return "".join(line.partition(" ")[2] for line in lines)

        with contextlib.suppress(AssertionError):  # the test finds it missing
            wait_until(lambda: is_said(mistake, log(), names), "the line", WAIT_S)
            wait_until(lambda: "on 127.0.0.1:" in log(), "it to be ready, and to heed SIGTERM", WAIT_S)
        process.terminate()
        try:
            return process.wait(TIMEOUT_S), log()
        finally:
            process.kill()
            process.wait()


def is_said(mistake: Mistake, log: str, names: dict[str, object]) -> bool:
    (expected,) = mistake.lines
    return any(matches(line, expected, **names) for line in log.splitlines())


@pytest.fixture(scope="module")
def outcomes(
    place: dict[str, str], ports: dict[str, object]
) -> Iterator[dict[str, Future[tuple[int, str]]]]:
    """What each process came to, by what was typed; a few run side by side."""
    names = {**place, **ports}
    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        futures = {each.typed: pool.submit(to_the_end, each, names) for each in MET}
        yield futures | {each.typed: pool.submit(until_it_is_said, each, names) for each in RUNNING_ON}


@pytest.mark.parametrize("mistake", MET, ids=lambda mistake: mistake.typed)
def test_what_is_met(
    mistake: Mistake, place: dict[str, str], ports: dict[str, object],
    outcomes: dict[str, Future[tuple[int, str]]],
) -> None:  # fmt: skip
    code, said = outcomes[mistake.typed].result()
    check(mistake, code, said, **place, **ports)


@pytest.mark.parametrize("mistake", RUNNING_ON, ids=lambda mistake: mistake.typed)
def test_what_is_said_in_the_log(
    mistake: Mistake, place: dict[str, str], ports: dict[str, object],
    outcomes: dict[str, Future[tuple[int, str]]],
) -> None:  # fmt: skip
    code, log = outcomes[mistake.typed].result()
    assert is_said(mistake, log, {**place, **ports}), log
    assert code == mistake.code, log
    assert "Traceback" not in log


@pytest.mark.parametrize(
    ("typed", "reason", "says"),
    [
        ("play rtmps://127.0.0.1:{edge}/live/x", "not_rtmp", "rtmps:// at one of --bind-tls"),
        ("play rtmp://127.0.0.1:{tls}/live/x", "not_tls", "rtmp:// at one of --bind"),
    ],
)
def test_the_edge_names_the_port_of_the_other_kind_too(
    typed: str, reason: str, says: str, place: dict[str, str], outcomes: dict[str, Future[tuple[int, str]]]
) -> None:
    outcomes[f"rtmp-cluster {typed}"].result()
    log = Path(place["folder"]) / "edge.log"

    def details() -> list[str]:
        events = map(json.loads, log.read_text().splitlines())
        return [each["detail"] for each in events if each.get("reason") == reason]

    assert any(says in each for each in wait_until(details, f"a line with {reason}", WAIT_S))


def test_none_is_left_out() -> None:
    written = Path(__file__).with_name("mistakes.txt").read_text().count("\n$ ")
    assert len({mistake.typed for mistake in (*TYPED_WRONG, *MET, *RUNNING_ON)}) == written >= 60
