"""The calls of MediaMTX's API that programs use, answered in its forms."""

from __future__ import annotations

import time
from datetime import datetime
from pathlib import Path

import pytest

from cluster import __version__
from cluster.api.fresh import FRESH_S
from support.api_cluster import ApiCluster, ask
from support.ffmpeg import Ffmpegs
from support.polling import wait_until


@pytest.fixture
def url(cluster: ApiCluster, ffmpegs: Ffmpegs, clip: Path) -> str:
    """An API of a cluster in which live/m is published at a, and played at b."""
    ffmpegs.publish(clip, cluster.nodes["a"].url("m"), loop=True)
    ffmpegs.play(cluster.nodes["b"].url("m"))
    url = cluster.apis["c"]

    def is_there() -> bool:
        states = [each["state"] for each in ask(url, "/v3/rtmpconns/list").json["items"]]
        readers = ask(url, "/v3/paths/get/live/m").json.get("readers", ())
        return sorted(states) == ["publish", "read"] and len(readers) == 1

    # What was said of the test before may be said again for half a second.
    time.sleep(FRESH_S)
    wait_until(is_there, "a publisher and a player")
    return url


def test_what_answers(cluster: ApiCluster) -> None:
    said = ask(cluster.apis["a"], "/v3/info").json
    assert said["version"] == f"v{__version__}"
    assert 0 <= time.time() - datetime.fromisoformat(said["started"]).timestamp() < 3600


def test_paths(url: str) -> None:
    listed = ask(url, "/v3/paths/list").json
    assert (listed["itemCount"], listed["pageCount"]) == (1, 1)
    [path] = listed["items"]
    assert path["name"] == "live/m"
    assert (path["ready"], path["available"], path["online"]) == (True, True, True)
    assert path["tracks"] == ["H264", "MPEG-4 Audio"]
    assert [(each["codec"], sorted(each["codecProps"])) for each in path["tracks2"]] == [
        ("H264", ["height", "width"]), ("MPEG-4 Audio", ["channelCount", "sampleRate"]),
    ]  # fmt: skip
    assert path["tracks2"][0]["codecProps"]["height"] > 0
    assert path["inboundBytes"] == path["bytesReceived"] > 0
    assert path["source"]["type"] == "rtmpConn"
    assert datetime.fromisoformat(path["readyTime"]).tzinfo is not None
    assert ask(url, "/v3/paths/get/live/m").json["name"] == "live/m"
    assert ask(url, "/v3/paths/get/live/none").json == {
        "status": "error", "error": "nobody publishes live/none"
    }  # fmt: skip


def test_connections_are_paged_found_and_kicked(cluster: ApiCluster, url: str) -> None:
    listed = ask(url, "/v3/rtmpconns/list?itemsPerPage=1&page=1").json
    assert (listed["itemCount"], listed["pageCount"], len(listed["items"])) == (2, 2, 1)
    assert ask(url, "/v3/rtmpconns/list?itemsPerPage=5&page=7").json["items"] == []
    everyone = ask(url, "/v3/rtmpconns/list").json["items"]
    assert {each["state"] for each in everyone} == {"publish", "read"}
    [reader] = [each for each in everyone if each["state"] == "read"]
    assert (reader["path"], reader["query"]) == ("live/m", "")
    assert ask(url, f"/v3/rtmpconns/get/{reader['id']}").json["remoteAddr"] == reader["remoteAddr"]
    assert ask(url, f"/v3/rtmpconns/kick/{reader['id']}", "POST").json == {"status": "ok"}
    [order] = wait_until(lambda: cluster.nodes["c"].events("api_order"), "the order in the log")
    assert reader["id"] in order["message"]
    kick = f"/v3/rtmpconns/kick/{reader['id']}"
    again = wait_until(lambda: (said := ask(url, kick, "POST")).status != 200 and said, "it to be gone")
    assert (again.status, again.json["status"]) == (404, "error")


@pytest.mark.parametrize("query", ["itemsPerPage=0", "itemsPerPage=x", "page=-1", "itemsPerPage=1001"])
def test_pages_that_cannot_be(cluster: ApiCluster, query: str) -> None:
    said = ask(cluster.apis["a"], f"/v3/paths/list?{query}")
    assert (said.status, said.json["status"]) == (400, "error")
