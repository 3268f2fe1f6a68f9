"""What workers and nodes report of streams, and what is left of it when they go."""

from __future__ import annotations

from cluster.core.bus.bounds import REPORTS_FETCHED_S
from cluster.core.bus.cluster_status import StreamFacts
from cluster.core.bus.control import NodeReport
from cluster.core.top_streams import StreamNumbers
from cluster.router.facts import FactsBook

A, B, FAR = "node/i/0/1", "node/i/1/1", "rack/far/i/0/1"
NODE, FAR_NODE = "node/i", "rack/far/i"
ORIGIN, PLAYED = StreamFacts("live/a", 1, "avc1", 8_000), StreamFacts("live/a", 2, "", 0)
UNKNOWN = StreamFacts("live/a", 0, "", 0)


def book(*worker_ids: str) -> FactsBook:
    made = FactsBook()
    for worker_id in worker_ids or (A, B, FAR):
        made.came(worker_id)
    return made


def said(facts: FactsBook, key: str, worker_id: str) -> StreamFacts:
    return facts.of(worker_id).get(key, StreamFacts(key, 0, "", 0))


def test_workers_report_each_for_itself() -> None:
    facts = book()
    facts.report(A, [ORIGIN])
    facts.report(B, [PLAYED])
    facts.report(FAR, [PLAYED])
    assert said(facts, "live/a", A) == ORIGIN
    assert said(facts, "live/a", FAR) == PLAYED
    assert said(facts, "live/b", A) == StreamFacts("live/b", 0, "", 0)
    assert said(facts, "live/a", "gone/i/0/1") == UNKNOWN
    assert facts.players() == {"live/a": {NODE: 3, FAR_NODE: 2}}
    assert list(facts.numbers()) == [StreamNumbers("live/a", 5, 1_000)]
    facts.report(B, [])
    assert facts.players() == {"live/a": {NODE: 1, FAR_NODE: 2}}


def test_a_node_reports_in_place_of_its_workers_and_of_no_others() -> None:
    facts = book()
    for worker_id in (A, B, FAR):
        facts.report(worker_id, [PLAYED])
    facts.node_report(NODE, [ORIGIN._replace(players=7)])
    assert facts.players() == {"live/a": {NODE: 7, FAR_NODE: 2}}
    assert said(facts, "live/a", A) == said(facts, "live/a", B) == ORIGIN._replace(players=7)
    facts.node_report(NODE, [])
    assert facts.players() == {"live/a": {FAR_NODE: 2}}


def test_nodes_that_share_a_name_are_told_apart() -> None:
    facts = book(A, "node/j/0/1")
    facts.node_report(NODE, [ORIGIN])
    facts.node_report("node/j", [PLAYED])
    assert facts.players() == {"live/a": {NODE: 1, "node/j": 2}}
    facts.went("node/j/0/1")
    assert facts.players() == {"live/a": {NODE: 1}}


def test_a_worker_that_reports_by_itself_ends_what_its_node_said() -> None:
    facts = book()
    facts.node_report(NODE, [ORIGIN._replace(players=7)])
    facts.report(B, [PLAYED])
    assert facts.players() == {"live/a": {NODE: 2}}
    assert said(facts, "live/a", A) == UNKNOWN


def test_what_a_node_said_goes_with_the_last_of_its_workers() -> None:
    facts = book()
    facts.node_report(NODE, [ORIGIN])
    facts.went(A)
    assert facts.players() == {"live/a": {NODE: 1}}
    facts.went(B)
    assert facts.players() == {}
    facts.node_report(NODE, [ORIGIN])
    assert facts.players() == {}, "a node without workers is not believed"
    facts.came(A)
    assert facts.players() == {}


def test_what_a_worker_said_goes_with_it() -> None:
    facts = book()
    facts.report(A, [ORIGIN])
    facts.report(B, [PLAYED])
    facts.went(A)
    assert facts.players() == {"live/a": {NODE: 2}}
    assert said(facts, "live/a", A) == UNKNOWN


def test_who_fetches_gets_one_report_of_each_node() -> None:
    facts = book(A, B)
    assert not facts.is_fetched(10.0)
    assert facts.fetch(10.0) == [NodeReport(NODE, [])]
    facts.report(A, [ORIGIN])
    facts.report(B, [PLAYED])
    assert facts.fetch(10.0) == [NodeReport(NODE, [ORIGIN._replace(players=3)])]
    assert facts.is_fetched(10.0)
    assert not facts.is_fetched(10.0 + REPORTS_FETCHED_S)
    facts.went(A)
    facts.went(B)
    assert facts.fetch(20.0) == []
