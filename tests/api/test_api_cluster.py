"""A cluster asked over its APIs: the same answer from each, whoever hangs is named, and orders are carried
out wherever they are given."""

from __future__ import annotations

import json
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from cluster.api.fresh import FRESH_S
from support.api_cluster import ApiCluster, Said, ask, whole
from support.cluster_process import Edge
from support.ffmpeg import Ffmpegs
from support.polling import wait_until

#: An answer comes within a second, whatever hangs; the rest is for a machine that is busy with tests.
WITHIN_S = 1.5

#: What is of one process, or of one moment.
MOMENTARY = {
    "after_ms", "silent_ms", "age_ms", "received_bytes", "sent_bytes", "received_bits_per_s",
    "sent_bits_per_s", "memory_bytes", "cpu_s", "bits_per_second", "queue_bytes", "delay_ms", "fps",
    "keyframe_interval_ms", "state",
}  # fmt: skip


def lasting(value: Any) -> Any:
    """``value`` without what changes from one moment to the next."""
    if isinstance(value, dict):
        return {name: lasting(each) for name, each in value.items() if name not in MOMENTARY}
    if isinstance(value, list):
        return [lasting(each) for each in value]
    return value


def answers(cluster: ApiCluster, path: str, names: set[str] | None = None) -> dict[str, Said]:
    said = {name: ask(url, path) for name, url in cluster.apis.items() if names is None or name in names}
    assert all(each.status == 200 for each in said.values()), said
    return said


def stream(url: str, key: str) -> dict[str, Any]:
    """The stream, once it is known there, with what its origin says of it."""

    def told() -> dict[str, Any] | None:
        said = ask(url, f"/v1/streams/{key}")
        return dict(said.json) if said.status == 200 and said.json["session"] else None

    return wait_until(told, f"{key} to be published") or {}


def closed(node: Edge, session: str) -> dict[str, Any]:
    """What the log says of the end of that session."""

    def said() -> list[dict[str, Any]]:
        return [event for event in node.events("connection_closed") if event["id"] == session]

    [event] = wait_until(said, f"the end of {session} in the log")
    return event


@pytest.fixture
def live(cluster: ApiCluster, ffmpegs: Ffmpegs, clip: Path) -> str:
    """A stream that is published at a, and played at b and c."""
    key = f"live/s{time.monotonic_ns()}"
    name = key.removeprefix("live/")
    ffmpegs.publish(clip, cluster.nodes["a"].url(name), loop=True)
    stream(cluster.apis["a"], key)
    for node in ("b", "c"):
        ffmpegs.play(cluster.nodes[node].url(name))

    def played(url: str) -> bool:
        by = ask(url, f"/v1/streams/{key}").json.get("players_by", ())
        return {each["node"]: each["count"] for each in by if each["kind"] == "rtmp"} == {"b": 1, "c": 1}

    wait_until(lambda: all(map(played, cluster.apis.values())), "players at b and c, known everywhere")
    return key


def test_every_api_gives_the_same_answer(cluster: ApiCluster, live: str) -> None:
    for path in ("/v1/routers", "/v1/nodes", f"/v1/streams?key={live}", f"/v1/sessions?key={live}",
                 f"/v1/routes?key={live}"):  # fmt: skip
        said: dict[str, Any] = {}

        def is_same(path: str = path, said: dict[str, Any] = said) -> bool:
            said |= {name: lasting(each.json) for name, each in answers(cluster, path).items()}
            return said["r1"]["items"] and all(each == said["r1"] for each in said.values())

        try:  # one may have asked a moment before the other
            wait_until(is_same, f"the same answer to {path}")
        except AssertionError:
            raise AssertionError({name: json.dumps(each) for name, each in said.items()}) from None
    nodes = whole(cluster.apis["r2"], "/v1/nodes")
    assert [(each["node"], each["state"], each["version"] != "") for each in nodes["items"]] == [
        (node, "ok", True) for node in "abc"
    ]
    assert [each["http_urls"] for each in nodes["items"]] == [
        [f"http://127.0.0.1:{cluster.nodes[node].http_port}"] for node in "abc"
    ]


def test_what_a_stream_and_its_sessions_and_routes_say(cluster: ApiCluster, live: str) -> None:
    url = cluster.apis["c"]
    shown = stream(url, live)
    video, audio = shown["tracks"]
    assert (video["kind"], video["codec"], video["width"], video["height"]) == ("video", "avc1", 640, 360)
    assert video["profile"].startswith("avc1.64")
    assert 24 < video["fps"] < 26
    assert (audio["codec"], audio["profile"], audio["sample_rate"]) == ("mp4a", "mp4a.40.2", 44_100)
    assert (shown["node"], shown["worker"], shown["players"]) == ("a", 0, 2)
    told = lambda: ask(url, f"/v1/streams/{live}").json["keyframe_interval_ms"]  # noqa: E731
    assert 1_900 <= wait_until(told, "two keyframes") <= 2_100
    assert shown["agent"].startswith("FMLE") or "Lavf" in shown["agent"]

    sessions = whole(url, f"/v1/sessions?key={live}")["items"]
    roles = {(each["node"], each["role"], each["kind"]) for each in sessions}
    assert roles == {("a", "publisher", "rtmp"), ("b", "player", "rtmp"), ("c", "player", "rtmp")}
    [publisher] = [each for each in sessions if each["role"] == "publisher"]
    assert publisher["session"] == shown["session"]
    assert publisher["state"] == "publishing"
    assert publisher["received_bytes"] > 10_000
    assert ask(url, f"/v1/sessions/{publisher['session']}").json["peer"] == publisher["peer"]

    routes = whole(url, f"/v1/routes?key={live}")["items"]
    assert [(each["from_node"], each["to_node"], each["players"]) for each in routes] == [
        ("a", "b", 1), ("a", "c", 1)
    ]  # fmt: skip
    assert {each["router"] for each in routes} <= set(cluster.router_addresses.values())


@pytest.mark.parametrize("slash", ["/", "%2F"])
def test_a_trace_has_each_hop_of_a_stream(cluster: ApiCluster, live: str, slash: str) -> None:
    path = f"/v1/streams/{live.replace('/', slash)}/trace"

    def traced() -> list[Any]:
        hops = ask(cluster.apis["r2"], path).json["hops"]
        rates = [each["bits_per_second"] for each in hops if each["kind"] in ("origin", "worker")]
        return hops if len(rates) == 3 and all(rates) else []

    hops = wait_until(traced, "the rate at the origin and at both workers")
    of_kind: dict[str, list[Any]] = {}
    for hop in hops:
        of_kind.setdefault(hop["kind"], []).append(hop)
    assert [each["name"] for each in of_kind["origin"]] == ["a"]
    assert sorted(each["name"] for each in of_kind["worker"]) == ["b", "c"]
    assert [each["players"] for each in of_kind["players"]] == [1, 1]
    assert {each["name"] for each in of_kind["router"]} <= set(cluster.router_addresses.values())
    assert all(0 < each["total_ms"] < 5_000 for each in of_kind["players"])
    assert of_kind["publisher"][0]["name"].startswith("127.0.0.1:")


def test_what_nobody_publishes_has_no_trace(cluster: ApiCluster) -> None:
    assert ask(cluster.apis["a"], "/v1/streams/live/nobody/trace").status == 404


def test_pages_have_all_sessions_once(cluster: ApiCluster, live: str) -> None:
    url, found, cursor = cluster.apis["r1"], [], ""
    for _ in range(20):
        page = whole(url, f"/v1/sessions?limit=1&key={live}&cursor={cursor}")
        assert len(page["items"]) <= 1
        found += [each["session"] for each in page["items"]]
        cursor = page["next"]
        if cursor is None:
            break
    everyone = [each["session"] for each in whole(url, f"/v1/sessions?key={live}")["items"]]
    assert found == everyone
    assert len(set(found)) == 3


def test_a_kick_ends_the_connection_on_another_node(
    cluster: ApiCluster, ffmpegs: Ffmpegs, clip: Path
) -> None:
    publisher = ffmpegs.publish(clip, cluster.nodes["a"].url("kicked"), loop=True)
    session = stream(cluster.apis["b"], "live/kicked")["session"]
    order = f"/v1/sessions/{session}?why=because"
    said = ask(cluster.apis["b"], order, "DELETE", Idempotency_Key="one")
    assert (said.status, said.json["done"]) == (200, True)
    assert publisher.wait(30) != 0
    # The same order again is the same answer; another one finds nobody.
    assert ask(cluster.apis["r1"], order, "DELETE", Idempotency_Key="one").status == 200
    assert ask(cluster.apis["c"], f"/v1/sessions/{session}", "DELETE").status == 404
    said = closed(cluster.nodes["a"], session)
    assert said["reason"] == "kicked"
    assert said["detail"] == "ended by an operator: because"


def test_a_viewer_over_http_is_listed_and_kicked(cluster: ApiCluster, live: str) -> None:
    node = cluster.nodes["b"]
    with urllib.request.urlopen(f"http://127.0.0.1:{node.http_port}/{live}.flv", timeout=20) as viewer:
        assert viewer.read(3) == b"FLV"
        listed = f"/v1/sessions?key={live}&kind=flv"
        [session] = wait_until(lambda: ask(cluster.apis["a"], listed).json["items"], "it to be listed")
        assert (session["node"], session["role"], session["state"]) == ("b", "player", "playing")
        kinds = {each["kind"]: each["count"] for each in wait_until(
            lambda: [each for each in ask(cluster.apis["c"], f"/v1/streams/{live}").json["players_by"]
                     if each["node"] == "b" and len(each["kind"]) == 3], "it among the players",
        )}  # fmt: skip
        assert kinds == {"flv": 1}
        assert ask(cluster.apis["c"], f"/v1/sessions/{session['session']}", "DELETE").status == 200
        viewer.read()  # to its end
    assert closed(node, session["session"])["reason"] == "kicked"


def test_a_key_that_is_no_text_is_named_by_its_bytes(cluster: ApiCluster) -> None:
    said = ask(cluster.apis["a"], "/v1/streams/live/%E9%2Fx?closed_s=0", "DELETE")
    assert (said.status, said.json["done"]) == (200, False)
    assert ask(cluster.apis["a"], "/v1/streams/live/%E9").status == 404


def test_a_reload_is_asked_of_one_node(cluster: ApiCluster) -> None:
    assert ask(cluster.apis["r1"], "/v1/nodes/a/reload", "POST").status == 200

    def reloads() -> list[str]:
        return [name for name, node in cluster.nodes.items() if "SIGHUP" in node.log_text()]

    assert wait_until(reloads, "a to say what it makes of it") == ["a"]


def test_a_stream_is_ended_and_its_key_closed_for_a_time(
    cluster: ApiCluster, ffmpegs: Ffmpegs, clip: Path
) -> None:
    publisher = ffmpegs.publish(clip, cluster.nodes["b"].url("closed"), loop=True)
    stream(cluster.apis["c"], "live/closed")
    said = ask(cluster.apis["c"], "/v1/streams/live/closed?closed_s=60", "DELETE")
    assert (said.status, said.json["done"]) == (200, True), said
    assert publisher.wait(30) != 0
    again = ffmpegs.publish(clip, cluster.nodes["c"].url("closed"))
    assert again.wait(30) != 0
    said = ask(cluster.apis["r2"], "/v1/streams/live/closed?closed_s=0", "DELETE")
    assert (said.status, said.json["done"]) == (200, False)
    ffmpegs.publish(clip, cluster.nodes["c"].url("closed"), loop=True)
    assert stream(cluster.apis["a"], "live/closed")["node"] == "c"


def test_a_drained_node_takes_nobody_in_until_it_is_put_back(
    cluster: ApiCluster, ffmpegs: Ffmpegs, clip: Path
) -> None:
    publisher = ffmpegs.publish(clip, cluster.nodes["c"].url("drained"), loop=True)
    stream(cluster.apis["a"], "live/drained")
    said = ask(cluster.apis["a"], "/v1/nodes/c/drain", "POST", {"deadline_s": 2})
    assert (said.status, said.json["done"]) == (200, True)
    wait_until(lambda: ask(cluster.apis["c"], "/readyz").status == 503, "c not to be ready")
    assert ask(cluster.apis["c"], "/livez").status == 200

    def state() -> str:
        [node] = ask(cluster.apis["b"], "/v1/nodes?node=c").json["items"]
        return str(node["state"])

    wait_until(lambda: state() == "draining", "b to know that c drains")
    refused = ffmpegs.publish(clip, cluster.nodes["c"].url("late"))
    assert refused.wait(30) != 0
    assert publisher.wait(30) != 0  # the deadline is over
    said = ask(cluster.apis["r1"], "/v1/nodes/c/undrain", "POST")
    assert (said.status, said.json["done"]) == (200, True)
    wait_until(lambda: ask(cluster.apis["c"], "/readyz").status == 200, "c to be ready again")
    ffmpegs.publish(clip, cluster.nodes["c"].url("back"), loop=True)
    assert stream(cluster.apis["a"], "live/back")["node"] == "c"


@pytest.mark.alone
def test_a_node_that_hangs_is_named_within_a_second(cluster: ApiCluster, live: str) -> None:
    others = {"r1", "r2", "a", "b"}
    cluster.stop("c")
    try:
        for wait_s in (FRESH_S, 2.5):  # before, and after, the routers have noticed
            time.sleep(wait_s)
            for path in ("/v1/nodes", "/v1/sessions", "/v1/streams", "/v1/routes", "/v1/cluster"):
                for name, said in answers(cluster, path, others).items():
                    assert said.took_s < WITHIN_S, (name, path, said.took_s)
                    assert not said.json["complete"]
                    assert [each["node"] for each in said.json["missing"]] == ["c"], (name, path)
        said = ask(cluster.apis["a"], "/v1/nodes/c/drain", "POST")
        assert said.status == 504
        for path in ("/v1/streams/live/none", "/v1/streams/live/none/trace"):
            said = ask(cluster.apis["a"], path)
            why = "nobody is known to publish live/none, and some nodes are lost: c"
            assert (said.status, said.json["detail"]) == (404, why)
    finally:
        cluster.resume("c")
    cluster.wait_whole()


@pytest.mark.alone
def test_a_router_that_hangs_or_is_gone_is_named_within_a_second(cluster: ApiCluster, live: str) -> None:
    gone = cluster.router_addresses["r2"]
    others = {"r1", "a", "b", "c"}

    def check() -> None:
        for path in ("/v1/nodes", "/v1/sessions", "/v1/streams", "/v1/routers"):
            for name, said in answers(cluster, path, others).items():
                assert said.took_s < WITHIN_S, (name, path, said.took_s)
                assert said.json["complete"], (name, path, said.text)
                assert [each["router"] for each in said.json["missing_routers"]] == [gone], (name, path)

    cluster.stop("r2")
    time.sleep(FRESH_S)  # for so long, what was said before is good
    try:
        check()
        keys = [each["key"] for each in ask(cluster.apis["a"], "/v1/streams").json["items"]]
        assert keys.count(live) == 1
    finally:
        cluster.resume("r2")
    cluster.wait_whole()
    cluster.routers["r2"].kill()
    time.sleep(FRESH_S)
    check()


    def events() -> list[str]:
        return [each["kind"] for each in ask(cluster.apis["b"], "/v1/events").json["items"]]

    wait_until(lambda: "router_lost" in events(), "the loss among the events")
