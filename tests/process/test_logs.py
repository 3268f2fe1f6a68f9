"""What a log line looks like, and what must not be in one."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import pytest

from cluster.process.logs import announce, configure

LOGGER = logging.getLogger("cluster.test")


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    yield
    root.handlers[:] = before
    root.setLevel(level)


def test_a_json_line_has_the_fields_of_the_message_and_of_extra(capsys: pytest.CaptureFixture[str]) -> None:
    configure("json", "info")
    LOGGER.info("worker %(slot)d is up", {"slot": 1}, extra={"event": "worker_up", "peer": "[::1]:5"})
    line = json.loads(capsys.readouterr().err)
    assert line.pop("time").endswith("Z")
    assert line == {
        "level": "info", "logger": "cluster.test", "message": "worker 1 is up",
        "slot": 1, "event": "worker_up", "peer": "[::1]:5",
    }  # fmt: skip


def test_a_text_line_shows_extra_fields_but_the_event(capsys: pytest.CaptureFixture[str]) -> None:
    configure("text", "info")
    LOGGER.warning("closed: %s", "bad_chunk", extra={"event": "closed", "peer": "127.0.0.1:5"})
    time, rest = capsys.readouterr().err.split(" ", 1)
    assert time.endswith("Z")
    assert rest == "warning closed: bad_chunk peer=127.0.0.1:5\n"


def test_a_peer_can_neither_begin_a_line_nor_steer_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    configure("text", "info")
    LOGGER.info("publishing %s", "a\nready on\x1b[2J\x9b", extra={"peer": "x\r\n"})
    assert capsys.readouterr().err.endswith("publishing a\\x0aready on\\x1b[2J\\x9b peer=x\\x0d\\x0a\n")


def test_names_that_are_not_utf8_can_be_logged(capsys: pytest.CaptureFixture[str]) -> None:
    name = b"a\xff".decode(errors="surrogateescape")
    configure("json", "info")
    LOGGER.info("publishing %(name)s", {"name": name})
    assert json.loads(capsys.readouterr().err)["name"] == name


@pytest.mark.parametrize(("log_format", "beginning"), [("text", "ready on :1"), ("json", '{"time"')])
def test_an_announcement_is_seen_at_any_level(
    log_format: str, beginning: str, capsys: pytest.CaptureFixture[str]
) -> None:
    configure("json" if log_format == "json" else "text", "error")
    LOGGER.warning("not seen")
    announce(LOGGER, "ready", "ready on %(address)s", {"address": ":1"})
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(beginning)
    if log_format == "json":
        shown = json.loads(line)
        assert (shown["event"], shown["address"], "announced" in shown) == ("ready", ":1", False)


def test_a_traceback_is_kept(capsys: pytest.CaptureFixture[str]) -> None:
    configure("json", "info")
    try:
        raise ValueError("oh")
    except ValueError:
        LOGGER.exception("failed")
    assert "ValueError: oh" in json.loads(capsys.readouterr().err)["exception"]
