"""``rtmp-cluster status``: what is asked, what is shown, and that it fits."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from cluster.commands.main import run
from cluster.commands.status import Answer, as_dict, ask, table
from cluster.core.bus.cluster_status import StreamStatus, WorkerStatus
from cluster.core.bus.control import ClusterStatus
from cluster.core.bus.endpoints import endpoints
from cluster.process.exit_codes import ExitCode
from cluster.router.router import Router

WORKERS = [
    WorkerStatus("a/1a/0/1", False, 20, {"connections": 3}),
    WorkerStatus("a/1a/1/1", False, 90, {"connections": 1}),
    WorkerStatus("b/1b/0/1", True, 10, {"connections": 2}),
]
STREAM = StreamStatus(
    "live/a", 1_795_340_815_629, "a/1a/0/1", 3_725_000, "avc1 mp4a", 2_500_000, {"a/1a": 2, "b/1b": 1}
)
ANSWERS = [
    Answer("tcp://r1:1936", ClusterStatus(WORKERS, [STREAM]), 1.2),
    Answer("tcp://r2:1936", None, 0.0),
]

texts = st.text(max_size=60)


def test_the_table() -> None:
    assert table(ANSWERS).splitlines() == [
        "ROUTER                                         STATE           WORKERS  STREAMS",
        "tcp://r1:1936                                  1 ms                  3        1",
        "tcp://r2:1936                                  no answer             -        -",
        "",
        "NODE                              WORKERS  CONNECTIONS  PUBLISHED  PLAYERS STATE",
        "a                                       2            4          1        2 ok",
        "b                                       1            2          0        1 drain",
        "",
        "STREAM               ORIGIN      EPOCH         CODECS    KBIT/S PLAYERS      AGE",
        "live/a               a/0         1795340815629 avc1 mp4a   2500       3  1:02:05",
        "  players: a 2, b 1",
    ]


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
    assert row.startswith("live/カメラ一号二号… a/0 ")
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
    assert [line.split()[0] for line in lines[4:8]] == [
        "a-host-with-a-long-name…0a1b2c3d", "a-host-with-a-long-name…4e5f6071", "a", "b",
    ]  # fmt: skip
    assert [line.split()[1] for line in lines if line.startswith("live/")] == ["…0a1b2c3d/0", "4e5f6071/12"]


def test_a_router_is_asked_and_one_that_is_not_there_is_not_waited_for_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("cluster.commands.status.ANSWER_TIMEOUT_S", 0.5)
    with Router("tcp://127.0.0.1:0") as one:
        with Router("tcp://127.0.0.1:0") as other:
            gone = other.endpoint
        began_at = time.monotonic()
        answers = ask([endpoints(one.endpoint), endpoints(gone)], None)
        assert 0.5 <= time.monotonic() - began_at < 1.5
        assert [answer.status is not None for answer in answers] == [True, False]
        assert one.sizes()["workers"] == 0


def test_the_command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cluster.commands.status.ANSWER_TIMEOUT_S", 0.5)
    with Router("tcp://127.0.0.1:0") as router:
        address = router.endpoint.replace("127.0.0.1", "localhost")
        assert run(["status", "--router", address]) == ExitCode.OK
        assert router.endpoint in capsys.readouterr().out
        assert run(["status", "--router", address, "--json"]) == ExitCode.OK
        shown = json.loads(capsys.readouterr().out)
        assert [each["router"] for each in shown["routers"]] == [router.endpoint]
    assert run(["status", "--router", address]) == 1
    assert "no answer" in capsys.readouterr().out
    assert run(["status", "--router", "tcp://name.invalid:1936"]) == ExitCode.ENVIRONMENT
