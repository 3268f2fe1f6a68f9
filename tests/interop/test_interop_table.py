"""What counts as the same packets, and how the table shows it."""

from __future__ import annotations

import pytest
from http_matrix import HTTP_ROWS, OwnLoss
from http_table import HttpTable, compare_http
from matrix import COLUMNS, ROWS
from table import MIN_PART, Cell, Table, compare, compare_part

from support.ffmpeg import GOP_FRAMES

VIDEO = [f"v{n}" for n in range(2 * GOP_FRAMES)]
AUDIO = [f"a{n}" for n in range(90)]
SOURCE = {"video0": VIDEO, "audio0": AUDIO}


def test_the_same_packets_are_the_same() -> None:
    assert compare(SOURCE, {"audio0": list(AUDIO), "video0": list(VIDEO)}, None) == Cell("yes")


@pytest.mark.parametrize("late", [None, "for a reason"])
@pytest.mark.parametrize(
    "got",
    [
        {},
        {"video0": [], "audio0": []},
        {"video0": VIDEO},
        {"video0": VIDEO, "audio0": []},
        {"video0": VIDEO[:-1], "audio0": AUDIO},
        {"video0": VIDEO, "audio0": AUDIO[:-1]},
        {"video0": [VIDEO[1], VIDEO[0], *VIDEO[2:]], "audio0": AUDIO},
        {"video0": [*VIDEO[:9], "other", *VIDEO[10:]], "audio0": AUDIO},
        {"video0": [VIDEO[0], *VIDEO], "audio0": AUDIO},
        {"video0": VIDEO[1:], "audio0": AUDIO},
        {"video0": VIDEO[:-GOP_FRAMES], "audio0": AUDIO},
        {"video0": VIDEO, "audio0": AUDIO, "video1": VIDEO},
    ],
    ids=[
        "nothing", "empty", "no audio stream", "no audio", "last frame", "last sound", "order", "changed",
        "twice", "not from a keyframe", "the end", "a stream too many",
    ],
)  # fmt: skip
def test_anything_else_is_not(got: dict[str, list[str]], late: str | None) -> None:
    assert compare(SOURCE, got, late).mark == "no"


def test_a_late_beginning_needs_a_reason_and_a_keyframe() -> None:
    got = {"video0": VIDEO[GOP_FRAMES:], "audio0": AUDIO[40:]}
    assert compare(SOURCE, got, None).mark == "no"
    assert compare(SOURCE, got, "it keeps nothing") == Cell("late", "it keeps nothing")


@pytest.mark.parametrize(
    ("begins", "ends"), [(0, None), (7, None), (7, -7), (len(VIDEO) - MIN_PART, None)],
    ids=["all", "later", "and sooner", "just enough"],
)  # fmt: skip
def test_a_part_without_a_gap_is_the_same(begins: int, ends: int | None) -> None:
    assert compare_part(SOURCE, {"audio0": AUDIO, "video0": VIDEO[begins:ends]}) == Cell("yes")


def test_a_part_that_begins_with_what_is_there_often_is_the_same() -> None:
    silence = ["silence"] * 40
    recorded = {"audio0": [*silence, *AUDIO]}
    assert compare_part(recorded, {"audio0": [*silence[:9], *AUDIO]}) == Cell("yes")


def test_a_recording_that_was_cut_off_is_the_same() -> None:
    assert compare_part({"video0": VIDEO[:-5], "audio0": AUDIO[:-3]}, SOURCE) == Cell("yes")


@pytest.mark.parametrize(
    "video",
    [
        None,
        [],
        ["other", *VIDEO],
        [*VIDEO[:9], *VIDEO[10:]],
        [*VIDEO[:9], "other", *VIDEO[10:]],
        [VIDEO[1], VIDEO[0], *VIDEO[2:]],
        VIDEO[len(VIDEO) - MIN_PART + 1 :],
    ],
    ids=["no stream", "nothing", "other before", "a gap", "changed", "order", "too little"],
)
def test_a_part_with_a_fault_is_not(video: list[str] | None) -> None:
    got = {"audio0": AUDIO} if video is None else {"audio0": AUDIO, "video0": video}
    assert compare_part(SOURCE, got).mark == "no"
    assert compare_part({"audio0": AUDIO}, SOURCE).mark == "no"


def test_every_cell_of_every_row_is_tested_or_has_a_reason() -> None:
    for row in ROWS:
        for direction, scheme, _worker in COLUMNS:
            can = (row.publish if direction == "publish" else row.play) is not None
            assert can or row.reason_against(direction, scheme), f"{row.peer}: {direction}, {scheme}"


def test_the_document_has_every_cell_and_each_note_once() -> None:
    table = Table()
    shown = table.add(ROWS[0], "ffmpeg version 5.1")
    for column in COLUMNS:
        shown.cells[column] = Cell("yes") if column[1] == "rtmp" else Cell("–", "no TLS")
    document = table.as_document()
    cells = " | ".join(("yes", "yes", "– (1)", "– (1)") * 2)
    assert f"| {ROWS[0].peer} | {ROWS[0].media.name} | {cells} |" in document
    assert document.count("no TLS") == 1
    assert f"| {ROWS[0].peer} | ffmpeg version 5.1 |" in document
    assert "1. no TLS" in table.as_text()


def test_over_http_a_peer_may_lose_only_what_it_drops_itself() -> None:
    loss = OwnLoss(-1, "its own doing")
    cut = {"video0": VIDEO, "audio0": AUDIO[:-1]}
    assert compare_http(SOURCE, SOURCE, None) == Cell("yes")
    assert compare_http(SOURCE, cut, loss) == Cell("yes", "its own doing")
    assert compare_http(SOURCE, cut, None).mark == "no"
    for bad in ({}, {"video0": VIDEO, "audio0": AUDIO[1:]}, {"video0": VIDEO[:-1], "audio0": AUDIO[:-1]}):
        assert compare_http(SOURCE, bad, loss).mark == "no"


def test_the_section_on_http_has_every_cell_and_each_note_once() -> None:
    table = HttpTable()
    assert table.as_lines() == []
    cells = table.add(HTTP_ROWS[0])
    cells["flv"], cells["mp4"], cells["m3u8"] = Cell("yes"), Cell("–", "no"), Cell("–", "no")
    text = "\n".join(table.as_lines())
    assert f"| {HTTP_ROWS[0].peer} | {HTTP_ROWS[0].media.name} | yes | – (1) | – (1) | ? |" in text
    assert text.count("1. no") == 1
