"""``rtmp-cluster status``: what is asked, what is shown, and that it fits."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from cluster.bus.cluster_key import ClusterKey, generate, load
from cluster.bus.reach import Reach
from cluster.commands import status as status_module
from cluster.commands.main import run
from cluster.commands.status import Target, ask
from cluster.commands.status_table import Answer, as_dict, summary, table
from cluster.core.bus import control_coding
from cluster.core.bus.cluster_status import LOST, StreamStatus, WorkerStatus
from cluster.core.bus.control import ClusterStatus
from cluster.core.bus.endpoints import endpoints
from cluster.process import running
from cluster.process.exit_codes import ExitCode
from cluster.process.running import Note, noted
from cluster.router.router import Router
from support.cluster_process import free_router_address

LOAD = {
    "connections": 3, "bytes_received": 3_000_000, "bytes_sent": 12_345_678_000,
    "bits_received_per_s": 2_500_000, "bits_sent_per_s": 125_000_000, "routers": 2, "routers_live": 1,
}  # fmt: skip
WORKERS = [
    WorkerStatus("a/1a/0/1", False, 20, LOAD),
    WorkerStatus("a/1a/1/1", False, 90, {"connections": 1}),
    WorkerStatus("b/1b/0/1", True, 10, {"connections": 2}),
]
STREAM = StreamStatus(
    "live/a", 1_795_340_815_629, "a/1a/0/1", 3_725_000, "avc1 mp4a", 2_500_000, {"a/1a": 2, "b/1b": 1}
)
ANSWERS = [
    Answer("tcp://r1:1936", ClusterStatus(WORKERS, [STREAM]), 1.2),
    Answer("tcp://r2:1936", None, 0.0, Reach.KEY_WRONG),
]

texts = st.text(max_size=60)


def test_the_table() -> None:
    assert table(ANSWERS).splitlines() == [
        "ROUTER                                         STATE           WORKERS  STREAMS",
        "tcp://r1:1936                                  1 ms                  3        1",
        "tcp://r2:1936                                  wrong key             -        -",
        "! tcp://r2:1936: its cluster key is another: --cluster-key must be the same file",
        "  on both sides, and --router the port of the router's --bind",
        "! node a: 1 of its 2 routers answer it; its log says why (router_lost,",
        "  router_unreached)",
        "",
        "NODE              WORKERS  CONNS PUBLISHED PLAYERS     IN/S    OUT/S STATE",
        "a                       2      4         1       2  2.5Mbit  125Mbit routers 1/2",
        "b                       1      2         0       1     0bit     0bit drain",
        "(total)                 3      6         1       3  2.5Mbit  125Mbit",
        "  in 3.0MB, out 12.3GB since the workers started",
        "",
        "STREAM                       ORIGIN        CODECS       KBIT/S PLAYERS       AGE",
        "live/a                       a/0           avc1 mp4a      2500       3   1:02:05",
        "  players: a 2, b 1",
    ]


def test_the_sums_in_one_line() -> None:
    shown = "routers 1 of 2, nodes 2, streams 1, players 3, in 2.5Mbit/s, out 125Mbit/s"
    assert summary(ANSWERS) == shown
    assert summary([]) == "routers 0 of 0, nodes 0, streams 0, players 0, in 0bit/s, out 0bit/s"


def test_the_streams_with_the_most_players_come_first() -> None:
    streams = [
        STREAM._replace(key="live/few"), STREAM._replace(key="live/none", players={}),
        STREAM._replace(key="live/many", players={"a/1a": 9}), STREAM._replace(key="live/a-few"),
    ]  # fmt: skip
    shown = as_dict([Answer("r", ClusterStatus(WORKERS, streams), 1)])["streams"]
    assert [each["key"] for each in shown] == ["live/many", "live/a-few", "live/few", "live/none"]


def test_a_load_that_is_no_amount_is_none() -> None:
    odd = {"connections": float("nan"), "bytes_sent": float("inf"), "bits_sent_per_s": -5, "routers": 1e18}
    assert "ok" not in table([Answer("r", ClusterStatus([WorkerStatus("a/1a/0/1", False, 0, odd)], []), 1)])


@settings(deadline=None, max_examples=100)
@given(
    key=texts, node=st.text(min_size=1, max_size=64), codecs=texts, rate=st.integers(0, 10**12),
    age_ms=st.integers(0, 10**14), players=st.dictionaries(texts, st.integers(1, 10**9), max_size=20),
)  # fmt: skip
def test_no_line_is_longer_than_80_columns_and_none_steers_the_terminal(
    key: str, node: str, codecs: str, rate: int, age_ms: int, players: dict[str, int]
) -> None:
    worker = WorkerStatus(f"{node}/1a/0/1", False, 0, {})
    stream = StreamStatus(key, 1_795_340_815_629, f"{node}/1a/0/1", age_ms, codecs, rate, players)
    shown = table([Answer("tcp://" + "r" * 60, ClusterStatus([worker], [stream]), 1.0)])
    lines = shown.split("\n")
    assert max(map(cell_len, lines)) <= 80
    assert all(line.isprintable() for line in lines)


def test_what_takes_two_cells_stands_in_its_column() -> None:
    players = {"東京" * 16 + "/1c": 1, "b/1b": 20}
    wide = STREAM._replace(key="live/カメラ一号二号三号四号五号", players=players)
    *_, row, first, second = table([Answer("r", ClusterStatus(WORKERS, [wide]), 1)]).splitlines()
    assert row.startswith("live/カメラ一号二号三号四号… a/0 ")
    assert cell_len(row) == 80
    assert first == "  players: b 20"
    assert second == f"    {'東京' * 16} 1"


def test_routers_that_know_different_things_are_put_together() -> None:
    newer = STREAM._replace(epoch=STREAM.epoch + 1, origin="b/1b/0/1")
    silent = WORKERS[0]._replace(silent_ms=5_000, load={"connections": 99})
    one, other = ClusterStatus(WORKERS, [STREAM]), ClusterStatus([silent], [newer])
    known = as_dict([Answer("r1", one, 1), Answer("r2", other, 1)])
    assert [stream["origin"] for stream in known["streams"]] == ["b/1b/0/1"]
    assert len(known["workers"]) == 3
    assert [node["connections"] for node in known["nodes"]] == [4, 2]
    assert [node["published"] for node in known["nodes"]] == [0, 1]


def test_nodes_that_share_a_name_are_told_apart() -> None:
    """By their instances, which stay where a long name has to be cut."""
    name = "a-host-with-a-long-name.example.net"
    workers = [
        WorkerStatus(f"{name}/0a1b2c3d/0/1", False, 20, {"connections": 3}),
        WorkerStatus(f"{name}/4e5f6071/12/1", False, 20, {"connections": 1}),
        *WORKERS,
    ]
    one = StreamStatus("live/a", 1, f"{name}/0a1b2c3d/0/1", 0, "", 0, {f"{name}/4e5f6071": 2, "b/1b": 1})
    other = one._replace(key="live/b", origin=f"{name}/4e5f6071/12/1", players={f"{name}/0a1b2c3d": 1})
    answers = [Answer("r", ClusterStatus(workers, [one, other]), 1)]
    known = as_dict(answers)
    shown = ("node", "instance", "published", "players")
    assert [tuple(node[name] for name in shown) for node in known["nodes"]] == [
        (f"{name}/0a1b2c3d", "0a1b2c3d", 1, 1), (f"{name}/4e5f6071", "4e5f6071", 1, 2),
        ("a", "1a", 0, 0), ("b", "1b", 0, 1),
    ]  # fmt: skip
    assert known["streams"][0]["players"] == {f"{name}/4e5f6071": 2, "b": 1}
    lines = table(answers).splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith("NODE")) + 1
    assert [line.split()[0] for line in lines[first : first + 4]] == [
        "a-host-w…0a1b2c3d", "a-host-w…4e5f6071", "a", "b",
    ]  # fmt: skip
    assert "--node-name" in "".join(lines)
    origins = [line.split()[1] for line in lines if line.startswith("live/")]
    assert origins == ["a-…0a1b2c3d/0", "a…4e5f6071/12"]


def test_a_router_is_asked_and_one_that_is_not_there_is_not_waited_for_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(status_module, "ANSWER_TIMEOUT_S", 0.5)
    with Router("tcp://127.0.0.1:0") as one:
        with Router("tcp://127.0.0.1:0") as other:
            gone = other.endpoint
        began_at = time.monotonic()
        answers = ask([Target(endpoints(one.endpoint)), Target(endpoints(gone))])
        assert 0.5 <= time.monotonic() - began_at < 20
        assert [answer.status is not None for answer in answers] == [True, False]
        assert answers[1].reach is Reach.NOBODY
        assert one.sizes()["workers"] == 0


@pytest.mark.parametrize(
    ("router_key", "our_key", "reaches"),
    [
        (b"1", b"2", {Reach.KEY_WRONG}),
        (b"1", None, {Reach.KEY_WANTED, Reach.NO_ROUTER}),
        (None, b"1", {Reach.KEY_NOT_WANTED, Reach.KEY_WRONG}),
    ],
)
def test_a_wrong_key_is_told_from_nobody_there(
    router_key: bytes | None, our_key: bytes | None, reaches: set[Reach]
) -> None:
    keys = [None if secret is None else ClusterKey(secret * 32) for secret in (router_key, our_key)]
    with Router("tcp://127.0.0.1:0", key=keys[0]) as router:
        (answer,) = ask([Target(endpoints(router.endpoint), keys[1])])
    assert answer.status is None
    assert answer.reach in reaches
    assert "--cluster-key" in answer.reach.why


def test_the_command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(status_module, "ANSWER_TIMEOUT_S", 0.5)
    with Router("tcp://127.0.0.1:0") as router:
        address = router.endpoint.replace("127.0.0.1", "localhost")
        assert run(["status", "--router", address]) == ExitCode.OK
        assert router.endpoint in capsys.readouterr().out
        assert run(["status", "--router", address, "--json"]) == ExitCode.OK
        shown = json.loads(capsys.readouterr().out)
        assert [each["router"] for each in shown["routers"]] == [router.endpoint]
    assert run(["status", "--router", address]) == 1
    shown = capsys.readouterr().out
    assert "nobody there" in shown
    assert "start the router" in shown
    for name in ("name.invalid", "a..b"):
        assert run(["status", "--router", f"tcp://{name}:1936"]) == ExitCode.ENVIRONMENT


def test_without_a_router_it_finds_what_runs_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    place = tmp_path / "place"
    monkeypatch.setattr(running, "places", lambda: [place])
    monkeypatch.setattr(status_module, "ANSWER_TIMEOUT_S", 0.5)
    key_file = generate(tmp_path / "key")
    with (
        Router("tcp://127.0.0.1:0", key=load(key_file)) as router,
        Router(f"ipc://{tmp_path}/r") as own,
        noted(Note("edge", 1, (router.endpoint,), own.endpoint, str(key_file), ("http://a:8080",)), place),
    ):
        assert run(["status", "--json"]) == ExitCode.OK
        said = json.loads(capsys.readouterr().out)
        routers = said["routers"]
        assert said["http"] == ["http://a:8080"]
        assert [(each["router"], each["answers"]) for each in routers] == [
            (router.endpoint, True), (own.endpoint, True),
        ]  # fmt: skip
        key_file.unlink()
        assert run(["status"]) == ExitCode.OK, "the node's own router still answers"
        shown = capsys.readouterr().out
        assert "--cluster-key" in shown
        assert shown.endswith("\nHTTP on this host: http://a:8080\n")


def test_one_name_that_nobody_knows_hides_nothing_else_and_a_router_knows_its_key_best(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    place = tmp_path / "place"
    monkeypatch.setattr(running, "places", lambda: [place])
    right, wrong = (generate(tmp_path / name) for name in ("right", "wrong"))
    with (
        Router("tcp://127.0.0.1:0", key=load(right)) as router,
        noted(Note("edge", 1, ("tcp://name.invalid:1936", router.endpoint), None, str(wrong)), place),
        noted(Note("router", 2, (router.endpoint,), None, str(right)), place),
    ):
        assert run(["status", "--json"]) == ExitCode.OK
        routers = json.loads(capsys.readouterr().out)["routers"]
    assert {each["router"]: each["state"] for each in routers if not each["answers"]} == {
        "tcp://name.invalid:1936": "unknown name"
    }
    assert [each["router"] for each in routers if each["answers"]] == [router.endpoint]


def test_a_note_without_an_address_hides_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    place = tmp_path / "place"
    monkeypatch.setattr(running, "places", lambda: [place])
    monkeypatch.setattr(status_module, "ANSWER_TIMEOUT_S", 0.5)
    with (
        Router("tcp://127.0.0.1:0") as router,
        noted(Note("edge", 1, ("nonsense", "tcp://a..b:1936", router.endpoint), "more", None), place),
    ):
        assert run(["status", "--json"]) == ExitCode.OK
    routers = json.loads(capsys.readouterr().out)["routers"]
    assert {each["router"]: each["answers"] for each in routers} == {
        "tcp://a..b:1936": False, router.endpoint: True,
    }  # fmt: skip


def test_where_nothing_runs_it_says_where_it_has_looked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(running, "places", lambda: [tmp_path])
    monkeypatch.setattr(status_module, "DEFAULT_ROUTER_BIND", free_router_address())
    monkeypatch.setattr(status_module, "ANSWER_TIMEOUT_S", 0.2)
    assert run(["status"]) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    assert len(shown.err.splitlines()) == 1
    assert str(tmp_path) in shown.err
    assert "--router tcp://HOST:1936" in shown.err


def test_the_help_names_the_default(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["status", "--help"]) == ExitCode.OK
    shown = capsys.readouterr().out
    assert "[default: what this user runs on this host]" in " ".join(shown.split())
    assert "a router of its own" not in shown


def test_a_worker_that_the_router_has_lost_is_not_shown_as_one() -> None:
    lost = WorkerStatus("c/1c/0/1", False, 9_000, {LOST: 1})
    frames = control_coding.encode(ClusterStatus([*WORKERS, lost], [STREAM]))
    known = status_module._decoded([bytes(frame) for frame in frames])
    assert known == ClusterStatus(WORKERS, [STREAM])
