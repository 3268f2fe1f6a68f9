"""docs/client.md: its examples are the files, and the files run."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

from cluster import client
from cluster.client.connecting import ConnectOptions
from support.cluster_process import ROOT, Edge
from support.polling import wait_until

DOCUMENT = ROOT / "docs" / "client.md"
EXAMPLES = ROOT / "examples"
NAMED = re.compile(r"^```python\n# (examples/\w+\.py)\n(.*?)^```", re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.stem)
def test_an_example_without_what_it_needs_says_how_it_is_run(path: Path) -> None:
    arguments = ["nowhere"] if path.stem == "embedded_server" else []
    process = start(path.name, *arguments)
    text, _ = process.communicate(timeout=60)
    assert process.returncode == 1, text
    assert "Traceback" not in text
    assert f"{path.name} " in text or "write :PORT" in text


@pytest.mark.parametrize(
    ("name", "arguments", "says"),
    [
        ("publish_file.py", ["{none}", "rtmp://127.0.0.1:1/live/x"], "cannot connect to 127.0.0.1:1"),
        ("publish_file.py", ["{none}", "http://h/live/x"], "the scheme is neither rtmp nor rtmps"),
        ("record_stream.py", ["rtmp://127.0.0.1:1/live/x", "x.flv"], "cannot connect to 127.0.0.1:1"),
        ("relay_stream.py", ["rtmp://127.0.0.1:1/live/x"] * 2, "cannot connect to 127.0.0.1:1"),
        ("generate_stream.py", ["rtmp://127.0.0.1:1/live/x"], "cannot connect to 127.0.0.1:1"),
    ],
)
def test_an_example_says_what_is_wrong_in_one_line(
    name: str, arguments: list[str], says: str, tmp_path: Path
) -> None:
    named = [argument.format(none=tmp_path / "none.flv") for argument in arguments]
    process = start(name, *named)
    text, _ = process.communicate(timeout=60)
    assert process.returncode == 1, text
    assert says in text
    assert text.count("\n") == 1


def start(name: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(EXAMPLES / name), *arguments],
        cwd=ROOT, env={"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


def output(process: subprocess.Popen[str]) -> str:
    try:
        text, _ = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0, text
    return text


def test_the_examples_shown_are_the_files() -> None:
    shown = dict(NAMED.findall(DOCUMENT.read_text()))
    assert len(shown) == 5
    for name, text in shown.items():
        _, _, code = (ROOT / name).read_text().partition('"""\n\n')
        body, _, _ = code.partition('\n\nif __name__ == "__main__":')
        assert text.strip() == body.strip(), name


def test_every_option_and_every_exception_is_described() -> None:
    text = DOCUMENT.read_text()
    for name in ConnectOptions.__dataclass_fields__:
        assert f"`{name}`" in text, name
    for name, value in vars(client).items():
        if inspect.isclass(value) and issubclass(value, Exception):
            assert f"`{name}`" in text, name


def test_files_are_published_relayed_and_recorded(edge: Edge, short_clip: Path, tmp_path: Path) -> None:
    first, second, copy = edge.url("example-1"), edge.url("example-2"), tmp_path / "copy.flv"
    recording = start("record_stream.py", second, str(copy))
    relaying = start("relay_stream.py", first, second)
    players = edge.metrics
    try:
        wait_until(lambda: players().total("players") >= 2, "the player and the relay")
        assert output(start("publish_file.py", str(short_clip), first)) == "published\n"
        assert "0 and 0 reconnects, 0 dropped" in output(relaying)
        assert re.search(r"\d{3} tags, 3\.\d s", output(recording))
    finally:
        for process in (recording, relaying):
            process.kill()
            process.wait()


def test_a_stream_is_generated_and_the_server_talked_to(edge: Edge) -> None:
    generating = start("generate_stream.py", edge.url("example-3"))
    said = output(start("talk_to_server.py", edge.url("").rstrip("/")))
    assert "digest-first" in said
    assert re.search(r"getStreamLength (returned|failed)", said)
    assert "not there: cannot connect to" in output(start("talk_to_server.py", "rtmp://127.0.0.1:1/live"))
    assert output(generating) == "50 beeps\n"


@pytest.mark.parametrize("name", client.__all__)
def test_what_is_exported_is_there(name: str) -> None:
    assert getattr(client, name).__doc__
