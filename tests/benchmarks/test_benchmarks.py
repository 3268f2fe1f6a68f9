"""What is pure in benchmarks/: the search, the figures, the verdicts, the tables, the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from benchmarks import __main__ as command
from benchmarks import machine, proc, records, report
from benchmarks.bars import Group, bar_chart
from benchmarks.model import Found, Measured, Record, Setting
from benchmarks.scenarios import SCENARIOS, comparison, memory, scaling
from benchmarks.search import largest

ORIGIN = {
    "at": "2020-01-01T00:00:00+00:00", "commit": "abc", "machine": "two cores", "interpreter": "CPython",
    "command": "python -m benchmarks",
}  # fmt: skip


def made(
    scenario: str, case: str, number: int = 1, complaints: list[str] | None = None, **figures: float
) -> Record:
    return records.record(ORIGIN, scenario, case, number, Measured(figures, complaints or [], []))


def play(**cpu: tuple[float, float]) -> list[Record]:
    """CPU and median delay by server."""
    names = {"nginx": "nginx-rtmp"} | {f"edge{ms}": comparison.edge_name(ms) for ms in (0, 2, 5, 50, 100)}
    return [
        made("play-300", names[name], cpu_ms_per_player_s=each, delay_p50_ms=delay)
        for name, (each, delay) in cpu.items()
    ]


EQUAL = "where the median delay is no higher: at most 0.90"

# The search.


@pytest.mark.parametrize("limit", [0, 1, 7, 100, 239, 240, 241, 1000, 3999, 4000, 9000])
def test_the_search_finds_what_still_works(limit: int) -> None:
    asked: list[int] = []

    def works(count: int) -> bool:
        asked.append(count)
        return count <= limit

    found = largest(works, start=240, most=4000)
    reachable = min(limit, 4000)
    assert found <= reachable
    assert reachable - found <= max(1, reachable * 0.05)
    assert len(asked) == len(set(asked)), "asked twice"
    assert len(asked) <= 20
    assert max(asked) <= 4000


# Figures and verdicts.


def test_medians_and_ratios_over_the_rounds() -> None:
    found = Found([made("x", "a", n, ["late"], cpu=cpu) for n, cpu in enumerate((1.0, 9.0, 3.0))])
    assert found.cases == ["a"]
    assert found.value("a", "cpu") == 3.0
    assert found.value("a", "other") is found.value("b", "cpu") is found.ratio("a", "b", "cpu") is None
    assert found.ratio("a", "a", "cpu") == 1.0
    assert found.complaints("a") == ["late"]


def verdicts(scenario: str, made_records: list[Record]) -> dict[str, tuple[str, str]]:
    """Aim to what was seen and the mark."""
    wanted = next(each for each in SCENARIOS if each.name == scenario)
    return {verdict.aim: (verdict.seen, verdict.mark) for verdict in wanted.judge(Found(made_records))}


def test_the_budget_of_equal_delay_is_the_largest_whose_delay_is_no_higher() -> None:
    found = verdicts("play-300", play(
        nginx=(1.0, 2.0), edge0=(0.95, 1.5), edge2=(0.85, 2.0), edge5=(0.5, 2.1), edge50=(0.31, 25.0),
    ))  # fmt: skip
    what = "300 players: CPU per player-second, of nginx-rtmp's, "
    assert found[what + EQUAL] == ("0.85 (budget 2 ms)", "reached")
    assert found[what + "budget 0 ms: at most 1.00"] == ("0.95", "reached")
    assert found[what + "budget 50 ms: at most 0.30"] == ("0.31", "missed")
    assert found[what + "budget 100 ms: at most 0.24"] == ("", "not measured")


def test_no_budget_may_have_the_delay_of_nginx() -> None:
    found = verdicts("play-300", play(nginx=(1.0, 2.0), edge0=(0.5, 2.1)))
    aim = next(aim for aim in found if EQUAL in aim)
    assert found[aim] == ("higher at every budget", "missed")


def test_every_scenario_judges_and_shows_nothing_as_not_measured() -> None:
    for scenario in SCENARIOS:
        judged = scenario.judge(Found([made(scenario.name, "nobody")]))
        assert judged
        assert {verdict.mark for verdict in judged} == {"not measured"}
        assert report.table(scenario, Found([made(scenario.name, "nobody")])).endswith("| nobody |")


def load_result(**changed: Any) -> dict[str, Any]:
    return {
        "players": {"asked": 10, "playing": 10.0}, "disconnected": {}, "delivered": 0.995,
        "frames": {"lost": 0, "out_of_order": 0}, "delay_ms": {"p99": 500.0}, **changed,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("changed", "skips", "says"),
    [
        ({}, 0, ""),
        ({"players": {"asked": 10, "playing": 9.2}}, 0, "not all played"),
        ({"disconnected": {"player": {"gone": 1}}}, 0, "not all played"),
        ({"delivered": 0.98}, 0, "98.0% delivered"),
        ({"delivered": None}, 0, "0.0% delivered"),
        ({"frames": {"lost": 2, "out_of_order": 0}}, 0, "2 frames lost, 0 out of order"),
        ({"delay_ms": {"p99": 500.1}}, 0, "delay p99 500 ms"),
        ({"delay_ms": {"p99": None}, "delivered": 0.5}, 0, "50.0% delivered"),
        ({}, 3, "3 skips"),
    ],
)
def test_what_counts_as_loss(changed: dict[str, Any], skips: int, says: str) -> None:
    assert scaling.losses(load_result(**changed), skips) == says


def test_drift_is_how_far_memory_gets_from_where_it_settled() -> None:
    timeline = [
        {"ends_s": second, "server_rss_bytes": rss}
        for second, rss in ((-1, 10), (5, 50), (10, 100), (11, None), (12, 97), (13, 102))
    ]
    settled = memory.settled_rss(timeline, 10)
    assert settled == [100, 97, 102]
    assert memory.drift(settled) == pytest.approx(0.03)


@pytest.mark.parametrize(("name", "ticks"), [("ZMQbg", 7), ("ZMQbg/IO/0", 7), ("python", 0)])
def test_the_cpu_of_a_thread_by_its_name(name: str, ticks: int) -> None:
    stat = "42 (ZMQbg/IO/0) S 1 2 3 0 -1 4194368 9 0 0 0 4 3 0 0 20 0 5 0 100 0 0"
    assert proc._ticks(stat, name) == ticks


def test_pgo_is_told_as_far_as_it_is_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    recorded: dict[str, str] = {}
    monkeypatch.setattr(machine.sysconfig, "get_config_var", recorded.get)
    assert "not recorded" in machine.pgo()
    recorded["PGO_PROF_USE_FLAG"] = "-fprofile-use -fprofile-correction"
    assert machine.pgo() == "without PGO"
    recorded["CONFIG_ARGS"] = "'--enable-optimizations' '--with-lto'"
    assert machine.pgo() == "with PGO"


# Records and the report.


def test_records_survive_the_file(tmp_path: Path) -> None:
    file = tmp_path / "results.jsonl"
    lines = [*play(nginx=(1.0, 2.0)), made("soak", "edge", complaints=["late"], drift=0.01)]
    for line in lines:
        records.append(file, line)
    assert records.read(file) == lines


@pytest.mark.parametrize("text", ["no json", "[]", json.dumps({"scenario": "play-300"})])
def test_a_file_of_something_else(tmp_path: Path, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "other.jsonl"
    file.write_text(f"{text}\n")
    assert command.main(["--report", str(file)]) == 2
    err = capsys.readouterr().err
    assert err == f"{file}:1 is no measurement: give a file that --json wrote\n"
    assert command.main(["--report", str(tmp_path / "none")]) == 2
    assert "cannot read" in capsys.readouterr().err


def test_the_report_replaces_what_stands_between_its_marks(tmp_path: Path) -> None:
    document = tmp_path / "benchmarks.md"
    document.write_text(f"# Before\n\n{report.BEGIN}\nold\n{report.END}\n\nafter\n")
    lines = play(nginx=(1.0, 2.0), edge0=(0.9, 1.0))
    lines.append(made("play-300", "node-media-server", complaints=["not measured: it is not there"]))
    for _ in range(2):
        report.write(lines, SCENARIOS, tmp_path)
        text = document.read_text()
        assert text.startswith(f"# Before\n\n{report.BEGIN}\n")
        assert text.endswith(f"\n{report.END}\n\nafter\n")
        assert "old" not in text
    assert "| edge, budget 0 ms | 0.900 | 0.90 | 1.00 ms |" in text
    assert "- node-media-server: not measured: it is not there" in text
    assert "- commit: abc" in text
    assert text.count("### ") == 1  # what was not measured is not shown
    assert "of the floor |" not in text.partition("### ")[2]  # nor an empty column
    assert "1000 players" not in text
    picture = (tmp_path / report.PICTURE).read_text()
    assert ElementTree.fromstring(picture).tag.endswith("svg")
    assert "edge, budget 0 ms" in picture


def test_the_document_has_the_marks() -> None:
    text = (Path(report.__file__).resolve().parents[1] / "docs" / "benchmarks.md").read_text()
    assert 0 < text.index(report.BEGIN) < text.index(report.END)


def test_the_longest_bar_is_the_highest_value() -> None:
    chart = ElementTree.fromstring(bar_chart([Group("a < b", {"edge": 1.0, "other": 4.0, "none": 0.0})]))
    rects = [each for each in chart if each.tag.endswith("rect")]
    widths = [float(rect.get("width", "")) for rect in rects]
    assert widths[1] == 4 * widths[0]
    assert widths[2] == 0
    assert [rect.get("class") for rect in rects] == ["own", None, None]
    assert bar_chart([]).startswith("<svg")


# The command line.


def test_all_but_the_soak_unless_it_is_named() -> None:
    names = [scenario.name for scenario in command.wanted(command.parse([]))]
    assert names == [scenario.name for scenario in SCENARIOS if scenario.name != "soak"]
    some = command.parse(["--scenario", "soak", "--scenario", "play-300"])
    assert [scenario.name for scenario in command.wanted(some)] == ["play-300", "soak"]


@pytest.mark.parametrize(
    "arguments",
    [["--scenario", "nothing"], ["--rounds", "0"], ["--server-cores", "99999"], ["--srs", "/nowhere"]],
)
def test_options_that_make_no_sense(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        command.parse(arguments)
    assert arguments[0] in capsys.readouterr().err


def test_the_list_names_every_scenario(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == [scenario.name for scenario in SCENARIOS]


def test_servers_of_others_take_part_where_they_are(tmp_path: Path) -> None:
    def names(**given: Path) -> list[str]:
        return [case.name for case in comparison.play(300).cases(Setting(**given))]

    assert names()[0] == "nginx-rtmp"
    more = set(names(srs=tmp_path, mediamtx=tmp_path)) - set(names())
    assert more == {"SRS", "MediaMTX"}
