"""What is pure in benchmarks/: the search, the figures, the verdicts, the tables, the command line."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from benchmarks import __main__ as command
from benchmarks import floor, machine, proc, records, report
from benchmarks.bars import Group, bar_chart
from benchmarks.model import Found, Measured, Record, Setting
from benchmarks.scenarios import SCENARIOS, comparison, memory, scaling
from benchmarks.search import largest
from cluster.core.limits import Limits
from cluster.core.message import MessageType
from cluster.core.rtmp.chunk_reader import ChunkReader
from cluster.load.media import StreamShape, synthetic_script

ORIGIN = {
    "at": "2020-01-01T00:00:00+00:00", "commit": "abc", "machine": "two cores", "interpreter": "CPython",
    "command": "python -m benchmarks",
}  # fmt: skip


def made(
    scenario: str, case: str, number: int = 1, complaints: list[str] | None = None, **figures: float
) -> Record:
    return records.record(ORIGIN, scenario, case, number, Measured(figures, complaints or [], []))


EDGE = comparison.DEFAULT_EDGE


def seen_by(scenario: str, **cases: tuple[float, float]) -> list[Record]:
    """CPU and median delay of video by case, which is named in short: a budget as ``edge50``."""
    names = {"nginx": comparison.NGINX, "default": EDGE, "floor": "floor"}
    names |= {f"edge{budget_ms}": comparison.edge_name(budget_ms) for budget_ms in (0, 20, 50)}
    names["no_hold"] = f"{comparison.edge_name(0)}, no audio hold"
    return [
        made(scenario, names[name], cpu_ms=cpu, video_p50_ms=delay) for name, (cpu, delay) in cases.items()
    ]


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


def test_players_of_one_stream_are_judged_beside_nginx_the_floor_and_what_the_server_was() -> None:
    found = verdicts("play-300", seen_by(
        "play-300", nginx=(1.0, 2.0), default=(0.75, 3.0), floor=(0.5, 1.0), edge50=(0.3, 40.1),
        no_hold=(0.6, 1.0),
    ))  # fmt: skip
    assert found == {
        "300 players: CPU, of nginx-rtmp's, default options: at most 0.75": ("0.75", "reached"),
        "300 players: video delay p50, above nginx-rtmp's, default options: at most 1.0 ms":
            ("1.0 ms", "reached"),
        "300 players: CPU, of that of budget 0 ms without audio hold, budget 50 ms: at most 0.40":
            ("0.50", "missed"),
        "300 players: video delay p50, budget 50 ms: at most 40.0 ms": ("40.1 ms", "missed"),
        "300 players: CPU, of the floor's, default options: at most 1.15": ("1.50", "missed"),
        "300 players: CPU, of the floor's, budget 50 ms: at most 1.15": ("", "not measured"),
    }  # fmt: skip


def test_many_streams_are_judged_at_default_options_and_at_a_budget() -> None:
    lines = seen_by("cameras", nginx=(1.0, 0.5), default=(1.6, 1.7), edge20=(1.0, 12.0))
    found = verdicts("cameras", lines)
    what = "150 streams of 1 Mbit/s, one player each: "
    assert found == {
        what + "CPU, of nginx-rtmp's, default options: at most 1.50": ("1.60", "missed"),
        what + "CPU, of nginx-rtmp's, budget 20 ms: at most 1.00": ("1.00", "reached"),
        what + "video delay p50, above nginx-rtmp's, default options: at most 1.0 ms": ("1.2 ms", "missed"),
    }


def test_capacity_is_judged_beside_nginx_and_beside_one_worker() -> None:
    counts = {"nginx-rtmp": 200.0, "edge, 1 worker": 500.0, "edge, 2 workers": 890.0}
    found = verdicts("capacity", [made("capacity", case, players=count) for case, count in counts.items()])
    assert list(found.values()) == [("2.50", "reached"), ("1.78", "missed")]


def test_players_over_http_are_judged_beside_those_of_rtmp() -> None:
    cpu = {
        "300 over RTMP, HTTP off": 0.200, "300 over RTMP": 0.204, "300 of .flv": 0.2142,
        "1000 over RTMP": 0.100, "1000 of .mp4": 0.110,
    }  # fmt: skip
    lines = [made("http-players", case, cpu_ms=cpu_ms) for case, cpu_ms in cpu.items()]
    lines += [
        made("http-players", "1 of .m3u8", cpu_share=0.02, requests_per_s=10.0),
        made("http-players", "300 of .m3u8", cpu_share=0.194, requests_per_s=3010.0),
    ]
    found = verdicts("http-players", lines)
    assert list(found.values()) == [
        ("1.02", "reached"), ("1.05", "reached"), ("1.10", "missed"), ("58 us", "reached"),
    ]  # fmt: skip


def test_every_scenario_judges_and_shows_nothing_as_not_measured() -> None:
    for scenario in SCENARIOS:
        found = Found([made(scenario.name, "nobody")])
        judged = scenario.judge(found)
        assert judged or scenario.name == "many-streams-tls"
        assert {verdict.mark for verdict in judged} <= {"not measured"}
        assert report.table([(scenario, found)]).endswith("| nobody |")


def load_result(**changed: Any) -> dict[str, Any]:
    return {
        "players": {"asked": 10, "playing": 10.0}, "disconnected": {}, "delivered": 0.995,
        "frames": {"lost": 0, "out_of_order": 0}, "video_delay_ms": {"p99": 150.0}, **changed,
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
        ({"video_delay_ms": {"p99": 150.6}}, 0, "video delay p99 151 ms"),
        ({"video_delay_ms": {}, "delivered": 0.5}, 0, "50.0% delivered"),
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


@pytest.mark.parametrize("hold_audio", [True, False])
def test_the_floor_sends_audio_with_the_next_video_if_it_is_to_hold_it(hold_audio: bool) -> None:
    # A packet for each send.
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    script = synthetic_script(StreamShape(bits_per_second=300_000), chunk_size=4096, stream_id=1)

    def send() -> None:
        with ours, contextlib.suppress(BrokenPipeError, ConnectionResetError):
            floor._send_stream([ours], 0, script, hold_audio=hold_audio)

    sender = threading.Thread(target=send)
    sender.start()
    with theirs:
        theirs.settimeout(10)
        reader = ChunkReader(Limits())
        reader.chunk_size = 4096
        reader.feed(theirs.recv(1 << 20))  # the preamble
        sends = [[each.type_id for each in reader.feed(theirs.recv(1 << 20))] for _ in range(12)]
    sender.join(10)
    assert not sender.is_alive()
    if hold_audio:
        assert {each[-1] for each in sends} == {MessageType.VIDEO}
        assert any(each[0] == MessageType.AUDIO for each in sends)
    else:
        assert {len(each) for each in sends} == {1}


# Records and the report.


def test_records_survive_the_file(tmp_path: Path) -> None:
    file = tmp_path / "results.jsonl"
    lines = [*seen_by("play-300", nginx=(1.0, 2.0)), made("soak", "edge", complaints=["late"], drift=0.01)]
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
    document.write_text(f"# Before\n\n{report.BEGIN}\nstale\n{report.END}\n\nafter\n")
    lines = seen_by("play-300", nginx=(1.0, 2.0), edge0=(0.9, 1.0))
    lines.append(made("play-300", "node-media-server", complaints=["not measured", "not there"]))
    for _ in range(2):
        report.write(lines, SCENARIOS, tmp_path)
        text = document.read_text()
        assert text.startswith(f"# Before\n\n{report.BEGIN}\n")
        assert text.endswith(f"\n{report.END}\n\nafter\n")
        assert "stale" not in text
    assert "|  | edge, budget 0 ms | 0.900 | 0.90 | 1.0 ms |" in text
    where = "- 300 players of one stream, node-media-server"
    assert f"{where}: not measured\n{where}: not there\n" in text
    assert "- commit: abc" in text
    assert text.count("### ") == 1  # what was not measured is not shown
    assert "of the floor |" not in text.partition("### ")[2]  # nor an empty column
    assert "1000 players" not in text
    picture = (tmp_path / report.PICTURE).read_text()
    assert ElementTree.fromstring(picture).tag.endswith("svg")
    assert "edge, budget 0 ms" in picture


def test_scenarios_that_share_a_table_stand_one_below_the_other() -> None:
    lines = seen_by("play-300", nginx=(1.0, 2.0), floor=(0.5, 1.0)) + seen_by("play-1000", nginx=(0.8, 3.0))
    text = report.markdown(lines, SCENARIOS)
    assert text.count("### ") == 1
    assert text.partition("### ")[2].splitlines()[2:] == [
        "|  |  | CPU ms | of nginx-rtmp | video p50 |",
        "| --- | --- | --: | --: | --: |",
        "| 300 players of one stream | nginx-rtmp | 1.000 | 1.00 | 2.0 ms |",
        "|  | floor | 0.500 | 0.50 | 1.0 ms |",
        "| 1000 players of one stream | nginx-rtmp | 0.800 | 1.00 | 3.0 ms |",
    ]


def test_the_document_leaves_out_tables_whose_figures_stand_among_the_aims(tmp_path: Path) -> None:
    (tmp_path / "benchmarks.md").write_text(f"{report.BEGIN}\n{report.END}\n")
    lines = [made("idle-players", "edge", player_kb=4.0, base_rss_mb=33.0)]
    report.write(lines, SCENARIOS, tmp_path)
    text = (tmp_path / "benchmarks.md").read_text()
    assert "idle players: at most 5.0 KB | 4.0 KB | reached |" in text
    assert "### " not in text
    assert "### Memory of a worker" in report.markdown(lines, SCENARIOS)


def test_the_document_has_the_marks_and_is_short() -> None:
    text = (Path(report.__file__).resolve().parents[1] / "docs" / "benchmarks.md").read_text()
    assert 0 < text.index(report.BEGIN) < text.index(report.END)
    assert len(text.splitlines()) <= 150


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


def test_a_round_of_all_but_the_soak_takes_less_than_25_minutes() -> None:
    setting = Setting()
    assert sum(scenario.seconds(setting) for scenario in SCENARIOS if not scenario.on_demand) < 25 * 60


def test_servers_of_others_take_part_where_they_are(tmp_path: Path) -> None:
    def names(**given: Path) -> list[str]:
        return [case.name for case in comparison.play(300, closely=True).cases(Setting(**given))]

    assert names()[0] == "nginx-rtmp"
    more = set(names(srs=tmp_path, mediamtx=tmp_path)) - set(names())
    assert more == {"SRS", "MediaMTX"}
