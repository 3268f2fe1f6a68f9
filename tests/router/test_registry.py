"""The registry without sockets: grants, contests, watches, membership, in the time it is handed."""

from __future__ import annotations

import pytest

from cluster.core.bus import control
from cluster.core.bus import watch_budget as budget_module
from cluster.core.bus.bounds import (
    CONTEST_TIMEOUT_S,
    MAX_EPOCH_AHEAD_S,
    MAX_SNAPSHOTS_ASKED,
    MAX_WAITING_PUBLISHERS,
    REPORTS_FETCHED_S,
    SNAPSHOT_BYTES_PER_S,
    WORKER_TIMEOUT_S,
)
from cluster.core.bus.cluster_status import NODE_REPORTS, StreamFacts, StreamStatus
from cluster.core.bus.control import (
    BUSY,
    DRAINING,
    Announce,
    Contest,
    Contested,
    ContestReply,
    ControlMessage,
    Goodbye,
    Granted,
    Heartbeat,
    Hello,
    HelloPart,
    HelloWanted,
    NameShared,
    NoStream,
    Publish,
    Refused,
    Revoked,
    SealedSnapshot,
    SnapshotRequest,
    StreamDown,
    StreamUp,
    TimedHeartbeat,
    Unpublish,
    Unwatch,
    Watch,
    Welcome,
)
from cluster.core.bus.epochs import latest_epoch
from cluster.process.complaints import COMPLAIN_EVERY_S
from cluster.router import records
from cluster.router import registry as registry_module
from cluster.router.memory_grants import MemoryGrants
from cluster.router.registry import Delivery, Registry
from cluster.router.shared_names import LIVES_ON_S
from cluster.router.snapshots_asked import SnapshotsAsked
from tests.support.registry_harness import KEY, A, B, C, Harness


@pytest.fixture
def harness() -> Harness:
    return Harness()


# ---- grants ----------------------------------------------------------------------------------


def test_a_free_key_is_granted_with_the_wall_clock_as_epoch(harness: Harness) -> None:
    assert harness.publish(A) == [(A, Granted(KEY, 1_000, 1))]


def test_epochs_rise_even_if_the_wall_clock_is_set_back(harness: Harness) -> None:
    first = harness.grant(A)
    harness.says(A, Unpublish(KEY, first))
    harness.wall_ms = 10
    assert harness.grant(B) == first + 1


def test_an_unpublish_of_another_epoch_or_worker_is_ignored(harness: Harness) -> None:
    epoch = harness.grant(A)
    harness.says(B, Watch(KEY))
    assert harness.says(A, Unpublish(KEY, epoch - 1)) == []
    assert harness.says(B, Unpublish(KEY, epoch)) == []
    assert harness.says(A, Unpublish("live/other", epoch)) == []
    assert harness.says(A, Unpublish(KEY, epoch)) == [(B, StreamDown(KEY, epoch))]


def test_a_draining_worker_is_granted_nothing(harness: Harness) -> None:
    harness.says(A, Heartbeat(draining=True))
    assert harness.publish(A) == [(A, Refused(KEY, DRAINING, 1))]
    harness.hello(B, draining=True)
    assert harness.publish(B) == [(B, Refused(KEY, DRAINING, 1))]
    harness.says(A, Heartbeat(draining=False))
    harness.grant(A)


# ---- contests --------------------------------------------------------------------------------


def test_an_origin_that_keeps(harness: Harness) -> None:
    harness.grant(A)
    contest = harness.contest(B)
    assert harness.says(A, ContestReply(KEY, contest, False)) == [(B, Refused(KEY, BUSY, 1))]
    assert harness.registry.sizes()["streams"] == 1


def test_an_origin_that_yields(harness: Harness) -> None:
    harness.says(C, Watch(KEY))
    epoch = harness.grant(A)
    contest = harness.contest(B, replace=True)
    assert harness.says(A, ContestReply(KEY, contest, True)) == [
        (A, Revoked(KEY, epoch)),
        (C, StreamUp(KEY, epoch + 1, B)),
        (B, Granted(KEY, epoch + 1, 1, True)),
    ]
    # What the loser says of its stream afterwards is of no consequence.
    assert harness.says(A, Unpublish(KEY, epoch)) == []


def test_the_same_worker_asks_itself(harness: Harness) -> None:
    epoch = harness.grant(A)
    contest = harness.contest(A, request_id=2)
    assert harness.says(A, ContestReply(KEY, contest, True)) == [(A, Granted(KEY, epoch + 1, 2))]


def test_silence_for_the_contest_timeout_yields(harness: Harness) -> None:
    epoch = harness.grant(A)
    contest = harness.contest(B)
    assert harness.tick(CONTEST_TIMEOUT_S - 0.001) == []
    assert harness.tick(0.001) == [(A, Revoked(KEY, epoch)), (B, Granted(KEY, epoch + 1, 1))]
    assert harness.says(A, ContestReply(KEY, contest, False)) == []  # too late


@pytest.mark.parametrize("goes", ["unpublish", "goodbye", "dropped", "hello"])
def test_an_origin_that_goes_during_a_contest_yields(harness: Harness, goes: str) -> None:
    epoch = harness.grant(A)
    harness.contest(B)
    if goes == "unpublish":
        out = harness.says(A, Unpublish(KEY, epoch))
    elif goes == "goodbye":
        out = harness.says(A, Goodbye())
    elif goes == "dropped":
        out = harness.registry.drop_worker(A, harness.now, harness.wall_ms)
    else:
        out = harness.hello("node/i/0/2")
    assert (B, Granted(KEY, epoch + 1, 1)) in out
    assert not any(isinstance(message, Revoked) for _, message in out)


def test_an_answer_to_another_contest_is_ignored(harness: Harness) -> None:
    harness.grant(A)
    contest = harness.contest(B)
    assert harness.says(A, ContestReply(KEY, contest + 1, True)) == []
    assert harness.says(C, ContestReply(KEY, contest, True)) == []
    assert harness.says(A, ContestReply("live/other", contest, True)) == []


def test_who_asks_during_a_contest_waits_for_its_end(harness: Harness) -> None:
    harness.grant(A)
    contest = harness.contest(B)
    assert harness.publish(C, request_id=9) == [(C, Contested(KEY, 9))]
    out = harness.says(A, ContestReply(KEY, contest, True))
    assert out[-2:] == [(C, Contested(KEY, 9)), (B, Contest(KEY, False, contest + 1))]
    assert harness.says(B, ContestReply(KEY, contest + 1, False)) == [(C, Refused(KEY, BUSY, 9))]


def test_only_so_many_wait(harness: Harness) -> None:
    harness.grant(A)
    harness.contest(B)
    for number in range(MAX_WAITING_PUBLISHERS):
        assert harness.publish(C, request_id=number) == [(C, Contested(KEY, number))]
    assert harness.publish(C, request_id=99) == [(C, Refused(KEY, BUSY, 99))]


def test_a_requester_that_left_or_drains_is_granted_nothing(harness: Harness) -> None:
    harness.grant(A)
    contest = harness.contest(B)
    harness.says(B, Goodbye())
    assert harness.says(A, ContestReply(KEY, contest, True)) == []
    contest = harness.contest(C)
    harness.says(C, Heartbeat(draining=True))
    assert harness.says(A, ContestReply(KEY, contest, True)) == [(C, Refused(KEY, DRAINING, 1))]


def test_an_announcement_during_a_contest_moves_the_question(harness: Harness) -> None:
    """A partition heals: the one who was asked has just lost the key to a higher epoch."""
    epoch = harness.grant(A)
    contest = harness.contest(B)
    out = harness.says(C, Announce(KEY, epoch + 50))
    assert out == [(A, Revoked(KEY, epoch)), (B, Contested(KEY, 1)), (C, Contest(KEY, False, contest + 1))]


# ---- announcements ---------------------------------------------------------------------------


def test_the_higher_epoch_wins_whichever_comes_first(harness: Harness) -> None:
    harness.says(C, Watch(KEY))
    assert harness.says(A, Announce(KEY, 50)) == [(C, StreamUp(KEY, 50, A))]
    assert harness.says(A, Announce(KEY, 50)) == []
    assert harness.says(B, Announce(KEY, 49)) == [(B, Revoked(KEY, 49))]
    assert harness.says(B, Announce(KEY, 51)) == [(A, Revoked(KEY, 50)), (C, StreamUp(KEY, 51, B))]


def test_equal_epochs_are_decided_by_the_workers_names(harness: Harness) -> None:
    for first, second in ((A, B), (B, A)):
        key = f"live/{first}"
        harness.says(first, Announce(key, 50))
        loser = min(A, B)
        assert harness.says(second, Announce(key, 50)) == [(loser, Revoked(key, 50))]


def test_a_grant_is_higher_than_what_was_announced(harness: Harness) -> None:
    harness.says(A, Announce(KEY, 5_000))
    harness.says(A, Unpublish(KEY, 5_000))
    assert harness.grant(B) == 5_001


# ---- watches ---------------------------------------------------------------------------------


def test_a_watcher_hears_of_the_stream_as_it_is_and_as_it_changes(harness: Harness) -> None:
    epoch = harness.grant(A)
    assert harness.says(B, Watch(KEY)) == [(B, StreamUp(KEY, epoch, A))]
    assert harness.says(C, Watch("live/other")) == []
    assert harness.says(A, Unpublish(KEY, epoch)) == [(B, StreamDown(KEY, epoch))]
    assert harness.publish(A)[0] == (B, StreamUp(KEY, epoch + 1, A))
    harness.says(B, Unwatch(KEY))
    assert harness.says(A, Unpublish(KEY, epoch + 1)) == []
    assert harness.registry.sizes()["watched_keys"] == 1
    harness.says(C, Unwatch("live/other"))
    assert harness.registry.sizes()["watched_keys"] == 0
    assert harness.says(C, Unwatch("live/other")) == []


def test_an_origin_is_not_told_of_itself(harness: Harness) -> None:
    harness.says(A, Watch(KEY))
    epoch = harness.grant(A)
    assert harness.says(A, Watch(KEY)) == []
    assert harness.says(A, Unpublish(KEY, epoch)) == []


# ---- membership ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "message", [Heartbeat(), Publish(KEY, False, 1), Watch(KEY), SnapshotRequest(KEY, 1), Announce(KEY, 1)]
)
def test_a_stranger_is_asked_for_its_hello(message: ControlMessage) -> None:
    registry = Registry(MemoryGrants(), lambda: None)
    assert registry.receive(A, message, 0.0, 0) == [(A, HelloWanted())]
    assert registry.sizes() == {"workers": 0, "streams": 0, "watched_keys": 0}
    assert registry.receive(A, Goodbye(), 0.0, 0) == []


def test_a_hello_is_welcomed_and_says_everything(harness: Harness) -> None:
    harness.says(B, Watch("live/x"))
    assert harness.hello(A, origins=[("live/x", 5), ("live/y", 6)], watches=["live/z"]) == [
        (A, Welcome()),
        (B, StreamUp("live/x", 5, A)),
    ]
    assert harness.registry.sizes() == {"workers": 3, "streams": 2, "watched_keys": 2}
    assert harness.hello(A, origins=[("live/y", 6)], watches=[]) == [
        (A, Welcome()),
        (B, StreamDown("live/x", 5)),
    ]
    assert harness.registry.sizes() == {"workers": 3, "streams": 1, "watched_keys": 1}


def test_a_hello_is_told_of_what_it_watches(harness: Harness) -> None:
    epoch = harness.grant(A)
    assert harness.hello(B, watches=[KEY]) == [(B, Welcome()), (B, StreamUp(KEY, epoch, A))]


def test_a_hello_in_another_workers_name_is_ignored(harness: Harness) -> None:
    assert harness.says(A, Hello("node", "i", 1, 1, False, {}, [], [])) == []


def test_a_heartbeat_is_answered_and_keeps_the_worker(harness: Harness) -> None:
    assert harness.says(A, Heartbeat({"players": 3})) == [(A, Heartbeat())]
    assert harness.loads()[A] == {"players": 3}
    harness.tick(WORKER_TIMEOUT_S)
    harness.beat(A)
    harness.tick(0.001)
    assert list(harness.loads()) == [A]


def test_who_asks_for_the_clock_is_told_it(harness: Harness) -> None:
    answer = TimedHeartbeat({}, False, 0, 77, round(harness.now * 1_000_000), harness.wall_ms)
    assert harness.says(A, TimedHeartbeat({"players": 3}, sent_us=77)) == [(A, answer)]
    assert harness.loads()[A] == {"players": 3}


def test_a_silent_worker_is_dropped_after_the_timeout(harness: Harness) -> None:
    epoch = harness.grant(A)
    harness.says(B, Watch(KEY))
    assert harness.tick(WORKER_TIMEOUT_S) == []
    harness.beat(B, C)
    assert harness.tick(0.001) == [(B, StreamDown(KEY, epoch))]
    assert harness.says(A, Heartbeat()) == [(A, HelloWanted())]


@pytest.mark.parametrize("incarnation", [0, 2])
def test_another_process_in_the_slot_replaces_the_one_before(harness: Harness, incarnation: int) -> None:
    epoch = harness.grant(A)
    harness.says(B, Watch(KEY))
    successor = f"node/i/0/{incarnation}"
    assert harness.hello(successor) == [(B, StreamDown(KEY, epoch)), (successor, Welcome())]
    assert A not in harness.loads()


def test_the_same_slot_of_another_node_is_another_worker(harness: Harness) -> None:
    harness.grant(A)
    assert harness.hello("other/i/0/9") == [("other/i/0/9", Welcome())]


def test_a_goodbye_ends_streams_and_watches(harness: Harness) -> None:
    epoch = harness.grant(A)
    harness.says(A, Watch("live/b"))
    harness.says(B, Watch(KEY))
    assert harness.says(A, Goodbye()) == [(B, StreamDown(KEY, epoch))]
    assert harness.registry.sizes() == {"workers": 2, "streams": 0, "watched_keys": 1}


def test_differing_counts_ask_for_a_hello(harness: Harness) -> None:
    assert harness.says(A, Heartbeat(messages=0)) == [(A, Heartbeat(messages=0))]
    harness.says(A, Watch(KEY))
    assert harness.says(A, Heartbeat(messages=2)) == [(A, Heartbeat(messages=1))]
    # One was lost on its way: this is the fourth message, it says the fifth.
    assert harness.says(A, Heartbeat(messages=4)) == [(A, HelloWanted()), (A, Heartbeat(messages=3))]
    harness.hello(A)
    assert harness.says(A, Heartbeat(messages=0)) == [(A, Heartbeat(messages=0))]


def test_messages_that_only_a_router_sends_are_ignored(harness: Harness) -> None:
    for message in (Welcome(), HelloWanted(), Granted(KEY, 1, 1), StreamUp(KEY, 1, B), Revoked(KEY, 1)):
        assert harness.says(A, message) == []


# ---- nodes of one name -----------------------------------------------------------------------

NAMESAKE, NAMESAKE_1 = "node/j/0/1", "node/j/1/1"


def beats_for(harness: Harness, seconds: float, *worker_ids: str) -> list[Delivery]:
    """Whom the registry told of a shared name, while these beat and the others have gone silent."""
    told: list[Delivery] = []
    for _ in range(round(seconds / 0.5)):
        harness.beat(*worker_ids)
        told += [each for each in harness.tick(0.5) if isinstance(each[1], NameShared)]
    return told


def test_nodes_of_one_name_publish_to_each_other_and_contest(harness: Harness) -> None:
    assert harness.hello(NAMESAKE) == [(NAMESAKE, Welcome())]
    epoch = harness.grant(A)
    assert harness.says(NAMESAKE, Watch(KEY)) == [(NAMESAKE, StreamUp(KEY, epoch, A))]
    contest = harness.contest(NAMESAKE)
    granted = harness.says(A, ContestReply(KEY, contest, True))
    assert granted[-1] == (NAMESAKE, Granted(KEY, epoch + 1, 1))
    assert set(harness.loads()) == {A, B, C, NAMESAKE}


def test_one_worker_of_each_node_of_one_name_is_told_so_once_in_a_while(harness: Harness) -> None:
    harness.hello(NAMESAKE_1)
    harness.hello(NAMESAKE)
    living = (A, B, C, NAMESAKE, NAMESAKE_1)
    shared = NameShared("node", ("i", "j"))
    assert beats_for(harness, LIVES_ON_S - 0.5, *living) == []
    assert beats_for(harness, COMPLAIN_EVERY_S, *living) == [(A, shared), (NAMESAKE, shared)]
    assert beats_for(harness, 1, *living) == [(A, shared), (NAMESAKE, shared)]
    harness.says(NAMESAKE, Goodbye())
    assert beats_for(harness, COMPLAIN_EVERY_S, *living[:3], NAMESAKE_1)[1:] == [(NAMESAKE_1, shared)]
    harness.says(NAMESAKE_1, Goodbye())
    assert beats_for(harness, 2 * COMPLAIN_EVERY_S, A, B, C) == []


@pytest.mark.parametrize("how", ["killed", "draining"])
def test_a_node_that_is_restarted_shares_its_name_with_nobody(harness: Harness, how: str) -> None:
    harness.says(B, Goodbye())
    harness.says(C, Goodbye())
    harness.hello(NAMESAKE)
    if how == "killed":
        harness.beat(A)  # its last
        assert beats_for(harness, COMPLAIN_EVERY_S, NAMESAKE) == []
        assert A not in harness.loads()
    else:
        harness.says(A, Heartbeat(draining=True))
        for _ in range(20):
            harness.says(A, Heartbeat(draining=True))
            assert beats_for(harness, 0.5, NAMESAKE) == []


# ---- snapshots -------------------------------------------------------------------------------


def test_a_snapshot_goes_through_to_the_origin_and_back(harness: Harness) -> None:
    harness.grant(A)
    assert harness.says(B, SnapshotRequest(KEY, 4)) == [(A, SnapshotRequest(KEY, 4, B))]
    snapshot = SealedSnapshot(KEY, A, 4, B, (), 100)
    assert harness.says(A, snapshot) == [(B, snapshot)]
    harness.says(B, SnapshotRequest(KEY, 5))
    assert harness.says(A, NoStream(KEY, 5, B)) == [(B, NoStream(KEY, 5, B))]
    harness.says(B, SnapshotRequest(KEY, 6))
    harness.says(B, Goodbye())
    assert harness.says(A, SealedSnapshot(KEY, A, 6, B, (), 100)) == []


def test_only_who_was_asked_answers_and_once(harness: Harness) -> None:
    harness.grant(A)
    harness.says(B, SnapshotRequest(KEY, 4))
    answer = SealedSnapshot(KEY, A, 4, B, (), 100)
    for message in (answer, NoStream(KEY, 4, B)):
        assert harness.says(C, message) == []
    assert harness.says(A, SealedSnapshot(KEY, A, 5, B, (), 100)) == []
    assert harness.says(A, answer) == [(B, answer)]
    assert harness.says(A, answer) == []
    assert harness.refusals.counters["refused_answer_unasked"] == 4


def test_a_worker_is_sent_so_much_in_a_second(harness: Harness) -> None:
    harness.grant(A)
    half = SNAPSHOT_BYTES_PER_S // 2

    def passes(request_id: int, size_bytes: int) -> bool:
        harness.says(B, SnapshotRequest(KEY, request_id))
        return bool(harness.says(A, SealedSnapshot(KEY, A, request_id, B, (), size_bytes)))

    assert passes(1, half)
    assert passes(2, half)  # at the limit
    assert not passes(3, 1)
    assert harness.refusals.counters["refused_snapshot_too_soon"] == 1
    harness.now += 1.0
    assert passes(4, 1)


def test_requests_for_snapshots_are_remembered_up_to_a_number() -> None:
    asked = SnapshotsAsked()
    for request_id in range(MAX_SNAPSHOTS_ASKED + 1):
        asked.note(request_id, A)
    assert asked.refusal(A, NoStream(KEY, 0, B), 0.0) == "answer_unasked"
    assert asked.refusal(A, NoStream(KEY, 1, B), 0.0) is None


def test_no_stream_no_snapshot(harness: Harness) -> None:
    assert harness.says(B, SnapshotRequest(KEY, 4)) == [(B, NoStream(KEY, 4, B))]
    harness.grant(B)
    assert harness.says(B, SnapshotRequest(KEY, 4)) == [(B, NoStream(KEY, 4, B))]


def test_an_asker_cannot_name_another_requester(harness: Harness) -> None:
    harness.grant(A)
    assert harness.says(B, SnapshotRequest(KEY, 4, C)) == [(A, SnapshotRequest(KEY, 4, B))]


def test_every_message_a_worker_sends_is_known_to_the_registry() -> None:
    registry = Registry(MemoryGrants(), lambda: None)
    handled = {*registry._handlers, *registry._from_anyone}
    sent_by_routers_only = {
        control.ClusterStatus, Welcome, HelloWanted, Granted, Refused, Contested, StreamUp, StreamDown,
        Contest, Revoked, NameShared,
    }  # fmt: skip
    known = handled - {SealedSnapshot} | {control.Snapshot} | sent_by_routers_only
    assert known == set(control.ControlMessage.__args__)


# ---- status ----------------------------------------------------------------------------------


def test_anyone_may_ask_for_the_status_and_changes_nothing() -> None:
    harness = Harness()
    granted = harness.grant(A)
    harness.says(A, control.Report([StreamFacts(KEY, 1, "avc1 mp4a", 2_500_000)]))
    for worker_id, players in ((B, 2), (C, 3)):
        harness.says(worker_id, control.Report([StreamFacts(KEY, players, "", 0)]))
    harness.wall_ms = granted + 5_000
    before = harness.registry.sizes()
    [(asker, status)] = harness.says("somebody", control.StatusRequest())
    assert asker == "somebody"
    assert isinstance(status, control.ClusterStatus)
    assert status.streams == [
        StreamStatus(KEY, granted, A, 5_000, "avc1 mp4a", 2_500_000, {"node/i": 6})
    ]
    assert [worker.worker_id for worker in status.workers] == [A, B, C]
    assert harness.registry.sizes() == before

    harness.says(B, control.Report([]))
    harness.says(C, Goodbye())
    [(_, status)] = harness.says("somebody", control.StatusRequest())
    assert isinstance(status, control.ClusterStatus)
    assert status.streams[0].players == {"node/i": 1}


def players(harness: Harness) -> dict[str, int]:
    """Those of KEY by node, as the registry tells them."""
    [(_, status)] = harness.says("somebody", control.StatusRequest())
    assert isinstance(status, control.ClusterStatus)
    return dict(status.streams[0].players)


def test_a_node_may_report_for_its_workers_without_being_one() -> None:
    harness = Harness()
    harness.hello("other/i/0/1")
    granted = harness.grant(A)
    harness.says(B, control.Report([StreamFacts(KEY, 9, "", 0)]))
    harness.says("other/i/0/1", control.Report([StreamFacts(KEY, 2, "", 0)]))
    report = control.NodeReport("node/i", [StreamFacts(KEY, 6, "avc1", 2_000)])
    assert harness.says("\0abcd", report) == []
    [(_, status)] = harness.says("somebody", control.StatusRequest())
    assert isinstance(status, control.ClusterStatus)
    (stream,) = status.streams
    assert (stream.origin, stream.codecs, stream.bits_per_second) == (A, "avc1", 2_000)
    assert stream.players == {"node/i": 6, "other/i": 2}
    assert stream.epoch == granted
    harness.says(B, Goodbye())
    harness.says(C, Goodbye())
    assert players(harness) == {"node/i": 6, "other/i": 2}, "it will say so itself"
    harness.says("\0abcd", control.NodeReport("node/i", []))
    assert players(harness) == {"other/i": 2}


def test_a_node_is_not_believed_before_a_worker_of_it_is_known() -> None:
    harness = Harness()
    harness.grant(A)
    report = control.NodeReport("node/j", [StreamFacts(KEY, 6, "avc1", 2_000)])
    harness.says("\0abcd", report)
    harness.hello("node/j/0/1")
    assert players(harness) == {}
    harness.says("\0abcd", report)
    assert players(harness) == {"node/j": 6}
    harness.says("node/j/0/1", Goodbye())
    assert players(harness) == {}
    harness.hello("node/j/0/2")
    assert players(harness) == {}, "nothing is left of what it said before"


def test_heartbeats_say_whether_the_node_reports_for_its_workers() -> None:
    harness = Harness()
    assert harness.says(A, Heartbeat()) == [(A, Heartbeat())]
    harness.registry.facts.fetch(harness.now)
    assert harness.says(A, Heartbeat(messages=1)) == [(A, Heartbeat({NODE_REPORTS: 1}, False, 1))]
    [(_, answer)] = harness.says(A, TimedHeartbeat(messages=2, sent_us=5))
    assert isinstance(answer, TimedHeartbeat)
    assert (answer.load, answer.sent_us) == ({NODE_REPORTS: 1}, 5)
    harness.now += REPORTS_FETCHED_S
    assert harness.says(A, Heartbeat(messages=3)) == [(A, Heartbeat(messages=3))]


# ---- who waits -----------------------------------------------------------------------------------


def test_a_grant_says_whether_others_wait_for_the_stream(harness: Harness) -> None:
    harness.says(A, Watch(KEY))
    assert harness.publish(A)[-1] == (A, Granted(KEY, 1_000, 1, False))  # its own players need no bus
    harness.says(A, Unpublish(KEY, 1_000))
    harness.says(B, Watch(KEY))
    assert harness.publish(A)[-1] == (A, Granted(KEY, 1_001, 1, True))
    harness.says(A, Unpublish(KEY, 1_001))
    harness.says(B, Unwatch(KEY))
    assert harness.publish(A)[-1] == (A, Granted(KEY, 1_002, 1, False))


# ---- a Hello in parts ------------------------------------------------------------------------


def test_a_hello_in_parts_replaces_what_was_known_when_it_is_whole(harness: Harness) -> None:
    epoch = harness.grant(A)
    harness.says(A, Watch("old"))
    harness.says(A, Watch("kept"))
    harness.says(B, Watch(KEY))
    hello = Hello("node", "i", 0, 1, False, {}, [], [], 2)
    assert harness.says(A, hello) == [(A, Welcome())]
    assert harness.registry.sizes() == {"workers": 3, "streams": 1, "watched_keys": 3}
    assert harness.says(A, HelloPart([("live/b", 5)], [])) == []
    assert harness.registry.sizes() == {"workers": 3, "streams": 2, "watched_keys": 3}
    out = harness.says(A, HelloPart([], ["kept", "new"]))
    assert out == [(B, StreamDown(KEY, epoch))]
    assert harness.registry.sizes() == {"workers": 3, "streams": 1, "watched_keys": 3}
    assert harness.says(A, Heartbeat(messages=2)) == [(A, Heartbeat(messages=0))]  # both parts are counted
    harness.says(A, HelloPart([], ["more"]))  # none was to come
    assert harness.registry.sizes()["watched_keys"] == 3


def test_a_hello_ends_one_whose_parts_are_missing(harness: Harness) -> None:
    harness.says(A, Hello("node", "i", 0, 1, False, {}, [], ["first"], 2))
    harness.hello(A, watches=["second"])
    harness.says(A, HelloPart([], ["late"]))
    assert harness.says(A, Watch("second")) == []
    assert harness.registry.sizes()["watched_keys"] == 1


def test_no_more_is_kept_of_a_hello_than_a_worker_may_have(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget_module, "MAX_WATCHES", 3)
    monkeypatch.setattr(records, "MAX_ORIGINS", 3)
    heard = records.HelloHeard(3)
    assert heard.take(HelloPart([("a", 1), ("b", 1)], ["a", "b", "a"]))
    assert heard.take(HelloPart([("c", 1), ("d", 1)], ["c", "d"]))
    assert heard.take(HelloPart([("e", 1)], ["e"]))
    assert (heard.origins, heard.watches) == ({"a", "b", "c"}, {"a", "b", "c"})
    assert not heard.take(HelloPart([], []))


# ---- bounds ----------------------------------------------------------------------------------


def test_a_worker_may_watch_so_many_keys(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget_module, "MAX_WATCHES", 2)
    harness.grant(B)
    for key in ("one", "two", "one", KEY):
        harness.says(A, Watch(key))
    assert harness.registry.sizes()["watched_keys"] == 2
    assert harness.refusals.counters["refused_watch"] == 1
    assert harness.says(A, Watch(KEY)) == []
    harness.says(A, Unwatch("one"))
    harness.says(A, Unwatch("one"))
    assert [type(message) for _, message in harness.says(A, Watch(KEY))] == [StreamUp]
    assert harness.refusals.counters["refused_watch"] == 2


def test_a_worker_may_publish_so_many_streams(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry_module, "MAX_ORIGINS", 2)
    epoch = harness.grant(A, "one")
    harness.grant(A, "two")
    assert harness.publish(A, "three") == [(A, Refused("three", BUSY, 1))]
    assert harness.says(A, Announce("three", 5)) == [(A, Revoked("three", 5))]
    assert harness.says(A, Announce("one", epoch + 1)) == []  # it has that one
    assert harness.refusals.counters["refused_origin"] == 2
    harness.says(A, Unpublish("two", 1_000))
    harness.grant(A, "three")


# ---- epochs ----------------------------------------------------------------------------------


@pytest.mark.parametrize("by_hello", [False, True])
def test_an_epoch_too_far_ahead_is_refused(by_hello: bool, caplog: pytest.LogCaptureFixture) -> None:
    harness = Harness()
    harness.says(B, Watch(KEY))
    limit = latest_epoch(harness.wall_ms)

    def announce(epoch: int) -> list[Delivery]:
        if by_hello:
            return harness.hello(A, origins=[(KEY, epoch)])
        return harness.says(A, Announce(KEY, epoch))

    assert (A, Revoked(KEY, limit + 1)) in announce(limit + 1)
    assert harness.registry.sizes()["streams"] == 0
    assert harness.refusals.counters["refused_epoch_ahead"] == 1
    assert (B, StreamUp(KEY, limit, A)) in announce(limit)
    announce(limit + 1)
    assert harness.refusals.counters["refused_epoch_ahead"] == 2
    why = "it announced an epoch more than a day ahead of this clock"
    assert caplog.messages == [f"refused worker {A}: {why}"]


def test_an_origin_that_leaps_too_far_ahead_has_left_its_stream() -> None:
    harness = Harness()
    harness.says(B, Watch(KEY))
    epoch = harness.grant(A)
    out = harness.says(A, Announce(KEY, latest_epoch(harness.wall_ms) + 1))
    assert (B, StreamDown(KEY, epoch)) in out
    assert harness.grant(C) > epoch


def test_grants_go_on_after_a_key_was_poisoned() -> None:
    """The router's clock was a day and more ahead when the key was granted, and was set right since."""
    harness = Harness()
    harness.wall_ms += 2 * MAX_EPOCH_AHEAD_S * 1_000
    harness.grant(A)
    harness.wall_ms -= 2 * MAX_EPOCH_AHEAD_S * 1_000
    harness.says(A, Goodbye())
    assert harness.grant(B) == harness.wall_ms
