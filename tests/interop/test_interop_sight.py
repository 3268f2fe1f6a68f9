"""What counts as a worse sight, and how a peer's output is read."""

from __future__ import annotations

from dataclasses import replace

import pytest
from absence_table import AbsenceTable
from sight import (
    LEAST_SHARE_OF_BYTES,
    MARGIN_S,
    Sight,
    complaints,
    differences,
    levelled_complaints,
    streams_in_json,
    streams_of_ffmpeg,
)
from sight_table import SightTable
from sight_tasks import TASKS, Stream

THERE = Sight(["audio aac", "video h264"], {"a warning"}, 0, 4.0, {"0 audio aac": 100, "1 video h264": 75})
LOG = """\
[flv @ 0x5581] [warning] 3 frames of http://127.0.0.1:80/a late by 1.5 s
[info] Input #0, flv, from 'rtmp://127.0.0.1:1935/live/x':
[info]   Stream #0:0: Video: h264 (High), yuv420p, 320x180
[info]   Stream #0:1(und): Audio: aac (LC), 44100 Hz
[flv @ 0x99] [warning] 70 frames of http://127.0.0.1:81/a late by 2 s
[info] Output #0, matroska, to 'out.mkv':
[info]   Stream #0:0: Video: vp8
[error] no more
"""


@pytest.mark.parametrize(
    "ours",
    [
        THERE,
        replace(THERE, complaints=set()),
        replace(THERE, seconds=0.1),
        replace(THERE, seconds=THERE.seconds + MARGIN_S),
        replace(THERE, written={"0 audio aac": 70, "1 video h264": 1000}),
    ],
    ids=["as there", "fewer complaints", "sooner", "within the margin", "about as much"],
)
def test_no_worse(ours: Sight) -> None:
    assert differences(ours, THERE) == []


@pytest.mark.parametrize(
    ("ours", "word"),
    [
        (replace(THERE, streams=["audio aac", "subtitle text", "video h264"]), "sees"),
        (replace(THERE, streams=["audio aac"]), "sees"),
        (replace(THERE, complaints={"a warning", "another"}), "another"),
        (replace(THERE, code=1), "ends with 1"),
        (replace(THERE, code=None), "does not end"),
        (replace(THERE, seconds=THERE.seconds + MARGIN_S + 0.1), "takes"),
        (replace(THERE, written={"0 audio aac": 69, "1 video h264": 75}), "69 packets"),
        (replace(THERE, written={"0 video h264": 75}), "writes"),
        (replace(THERE, written={}), "writes"),
    ],
    ids=[
        "a stream too many", "one too few", "complaint", "exit code", "hangs", "slow", "fewer packets",
        "other streams written", "nothing written",
    ],
)  # fmt: skip
def test_worse(ours: Sight, word: str) -> None:
    found = differences(ours, THERE)
    assert len(found) == 1
    assert word in found[0]


def test_what_does_not_work_there_need_not_be_as_there() -> None:
    broken = replace(THERE, code=None, complaints=set())
    assert differences(replace(THERE, complaints={"another"}), broken) == []
    assert "shows nothing" in differences(replace(THERE, code=1), broken)[0]


def test_a_file_that_ends_after_so_many_bytes_may_have_less_of_one_stream() -> None:
    ours = replace(THERE, written={"0 audio aac": 30, "1 video h264": 75})
    assert differences(ours, THERE, LEAST_SHARE_OF_BYTES) == []
    ours = replace(THERE, written={"0 audio aac": 29, "1 video h264": 75})
    assert len(differences(ours, THERE, LEAST_SHARE_OF_BYTES)) == 1


def test_what_worked() -> None:
    assert THERE.has_worked()
    assert replace(THERE, written=None).has_worked()
    for broken in (replace(THERE, code=1), replace(THERE, code=None), replace(THERE, written={}),
                   replace(THERE, written={"0 audio aac": 0})):  # fmt: skip
        assert not broken.has_worked()


def test_the_kinds_of_complaints_are_without_what_differs() -> None:
    assert levelled_complaints(LOG) == {"# frames of http://#.#:#/a late by # s", "no more"}
    assert complaints("one 1\n\none 2\n") == {"one #"}


def test_the_streams_of_an_input() -> None:
    assert streams_of_ffmpeg(LOG) == ["audio aac", "video h264"]
    assert streams_of_ffmpeg("nothing") == []
    as_json = '{"streams": [{"codec_type": "video", "codec_name": "h264"}, {"codec_type": "data"}]}'
    assert streams_in_json(as_json) == ["data ", "video h264"]
    assert streams_in_json("") == []


def test_the_sections_of_the_document() -> None:
    sights, absences = SightTable(), AbsenceTable()
    assert sights.as_lines() == absences.as_lines() == []
    sights.note("ffprobe URL", "both", same=True)
    sights.note("ffprobe URL", "video", same=False)
    sights.note("ffprobe URL", "video", same=True)
    sights.note("PyAV", "both", same=True)
    assert "| `ffprobe URL` | same | worse |" in sights.as_lines()
    assert "| `PyAV` | same | – |" in sights.as_lines()
    absences.note("a relay", 5, 0.24, None)
    assert "| a relay | 5 s | 0.2 s | no media |" in absences.as_lines()


def test_every_task_has_a_name_of_its_own_and_runs_with_some_stream() -> None:
    assert len({task.label for task in TASKS}) == len(TASKS)
    for task in TASKS:
        stream = Stream("both", True)
        assert task.fits(stream)
        assert "rtmp://a" in " ".join(task.command(stream, "rtmp://a/x", "rtmp://a/y"))
