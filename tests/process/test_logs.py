"""What a log line looks like, what must not be in one, and that none is lost at the end of a process."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cluster.process.logs import announce, configure, lines_lost

ROOT = Path(__file__).resolve().parents[2]
LOGGER = logging.getLogger("cluster.test")


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    yield
    for handler in root.handlers:
        if handler not in before:
            handler.close()
    root.handlers[:] = before
    root.setLevel(level)


def written(capfd: pytest.CaptureFixture[str]) -> str:
    """What has been logged since ``configure``: a thread writes it."""
    for handler in logging.getLogger().handlers:
        handler.close()
    return capfd.readouterr().err


def ended(source: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """A Python process that runs ``source``."""
    command = [sys.executable, "-c", "import logging, os, sys\n" + textwrap.dedent(source)]
    return subprocess.run(command, cwd=ROOT, timeout=20, text=True, check=False, **options)


def test_a_json_line_has_the_fields_of_the_message_and_of_extra(capfd: pytest.CaptureFixture[str]) -> None:
    configure("json", "info")
    LOGGER.info("worker %(slot)d is up", {"slot": 1}, extra={"event": "worker_up", "peer": "[::1]:5"})
    line = json.loads(written(capfd))
    assert line.pop("time").endswith("Z")
    assert line == {
        "level": "info", "logger": "cluster.test", "message": "worker 1 is up",
        "slot": 1, "event": "worker_up", "peer": "[::1]:5",
    }  # fmt: skip


def test_a_text_line_shows_extra_fields_but_the_event(capfd: pytest.CaptureFixture[str]) -> None:
    configure("text", "info")
    LOGGER.warning("closed: %s", "bad_chunk", extra={"event": "closed", "peer": "127.0.0.1:5"})
    time, rest = written(capfd).split(" ", 1)
    assert time.endswith("Z")
    assert rest == "warning closed: bad_chunk peer=127.0.0.1:5\n"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("FMLE/3.0 (compatible; FMSc/1.0)", '"FMLE/3.0 (compatible; FMSc/1.0)"'),
        ("", '""'), ('a"b', r'"a\"b"'), ("a\\b c", r'"a\\b c"'), (7, "7"),
    ],
)  # fmt: skip
def test_a_value_of_several_words_stands_in_quotes(
    value: object, shown: str, capfd: pytest.CaptureFixture[str]
) -> None:
    configure("text", "info")
    LOGGER.info("closed", extra={"agent": value, "age_s": 1})
    assert written(capfd).endswith(f"closed agent={shown} age_s=1\n")


def test_a_peer_can_neither_begin_a_line_nor_steer_a_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    configure("text", "info")
    LOGGER.info("publishing %s", "a\nready on\x1b[2J\x9b", extra={"peer": "x\r\n"})
    assert written(capfd).endswith("publishing a\\x0aready on\\x1b[2J\\x9b peer=x\\x0d\\x0a\n")


@pytest.mark.parametrize(
    ("character", "shown"),
    [
        ("\u202e", r"\u202e"),  # shows what follows from right to left
        ("\u2066", r"\u2066"), ("\u200b", r"\u200b"), ("\ufeff", r"\ufeff"), ("\xad", r"\xad"),
        ("\u2028", r"\u2028"), ("\u2029", r"\u2029"),  # lines, to some who read it
        ("\ue000", r"\ue000"), ("\U000e0041", r"\U000e0041"), ("\udcff", r"\udcff"),
        ("é", "é"), ("日", "日"), ("😀", "😀"),
    ],
)  # fmt: skip
def test_what_is_not_seen_is_shown_by_its_number(
    character: str, shown: str, capfd: pytest.CaptureFixture[str]
) -> None:
    configure("text", "info")
    LOGGER.info("publish %s", f"live/{character}1", extra={"agent": f"x{character}"})
    assert written(capfd).endswith(f"publish live/{shown}1 agent=x{shown}\n")


def test_no_line_of_a_traceback_looks_like_one_of_the_log(capfd: pytest.CaptureFixture[str]) -> None:
    configure("text", "info")
    try:
        raise ValueError("live/x\n2026-01-01T00:00:00.000Z warning access denied to 192.0.2.1\x1b[2J")
    except ValueError:
        LOGGER.exception("failed")
    first, *rest = written(capfd).splitlines()
    assert first.endswith("error   failed")
    assert all(line.startswith("    ") for line in rest)
    assert rest[-1].endswith(r"192.0.2.1\x1b[2J")


def test_names_that_are_not_utf8_can_be_logged(capfd: pytest.CaptureFixture[str]) -> None:
    name = b"a\xff".decode(errors="surrogateescape")
    configure("json", "info")
    LOGGER.info("publishing %(name)s", {"name": name})
    assert json.loads(written(capfd))["name"] == name


@pytest.mark.parametrize(("log_format", "beginning"), [("text", "ready on :1"), ("json", '{"time"')])
def test_an_announcement_is_seen_at_any_level(
    log_format: str, beginning: str, capfd: pytest.CaptureFixture[str]
) -> None:
    configure("json" if log_format == "json" else "text", "error")
    LOGGER.warning("not seen")
    announce(LOGGER, "ready", "ready on %(address)s", {"address": ":1"})
    (line,) = written(capfd).splitlines()
    assert line.startswith(beginning)
    if log_format == "json":
        shown = json.loads(line)
        assert (shown["event"], shown["address"], "announced" in shown) == ("ready", ":1", False)


def test_a_traceback_is_kept(capfd: pytest.CaptureFixture[str]) -> None:
    configure("json", "info")
    try:
        raise ValueError("oh")
    except ValueError:
        LOGGER.exception("failed")
    assert "ValueError: oh" in json.loads(written(capfd))["exception"]


@pytest.mark.parametrize(
    "end",
    ["sys.exit(3)", "raise RuntimeError", "logging.shutdown(); os._exit(3)"],
    ids=["exit", "exception", "os._exit"],
)
def test_the_last_line_before_the_end_is_written(end: str) -> None:
    found = ended(
        f"""
        from cluster.process.logs import configure
        configure("text", "info")
        for number in range(100):
            logging.info("line %d", number)
        {end}
        """,
        stderr=subprocess.PIPE,
    )
    lines = [line for line in found.stderr.splitlines() if " info    line " in line]
    assert [line.split()[-1] for line in lines] == [str(number) for number in range(100)]
    assert found.returncode != 0


def test_a_process_ends_in_time_while_nobody_reads_what_it_logs() -> None:
    reader, writer = os.pipe()
    began_at = time.monotonic()
    found = ended(
        """
        from cluster.process.logs import configure, lines_lost
        configure("text", "info")
        for number in range(20_000):
            logging.info("line %d", number)
        sys.exit(5 if lines_lost() else 6)
        """,
        stderr=writer,
    )
    assert found.returncode == 5
    assert time.monotonic() - began_at < 10
    os.close(writer)
    os.close(reader)


def test_without_stderr_nothing_is_written_to_the_file_that_has_its_number(tmp_path: Path) -> None:
    other = tmp_path / "other"
    found = ended(
        f"""
        os.close(2)
        sys.stderr = None  # as Python has it when it starts without one
        with open({str(other)!r}, "wb") as other:
            assert other.fileno() == 2
            from cluster.process.logs import configure
            configure("text", "info")
            logging.error("nobody is to see this")
            logging.shutdown()
        """
    )
    assert found.returncode == 0
    assert other.read_bytes() == b""


def test_a_full_disk_ends_nothing() -> None:
    with open("/dev/full", "wb") as full:
        found = ended(
            """
            from cluster.process.logs import configure
            configure("text", "info")
            for number in range(20_000):
                logging.info("line %d", number)
            """,
            stderr=full,
        )
    assert found.returncode == 0


def test_lines_that_are_lost_are_counted(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    configure("text", "info")
    assert lines_lost() == 0
    (handler,) = logging.getLogger().handlers
    monkeypatch.setattr(handler, "_max_bytes", 10)
    LOGGER.info("longer than ten bytes")
    assert lines_lost() == 1
    assert "1 lines are missing here" in written(capfd)
