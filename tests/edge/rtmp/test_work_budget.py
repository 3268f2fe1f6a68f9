"""What one connection may cost: the budget, and a connection that goes beyond it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cluster.core.amf import amf0
from cluster.core.amf.values import AmfValue
from cluster.core.errors import CloseReason
from cluster.core.message import Message
from cluster.edge.rtmp.work_budget import (
    BURST_S,
    CALM_S,
    HEADER_BYTES_PER_WORK,
    SIDE_BURST_S,
    SIDE_WORK_PER_S,
    TOO_MUCH_S,
    WORK_PER_LOOK,
    WORK_PER_S,
    WORK_PER_TURN,
    WorkBudget,
)
from cluster.net import poller
from support.house import KEY as KEYFRAME
from support.house import House, Peer, stepped_loop, video

BURST = round(BURST_S * WORK_PER_S)


@pytest.fixture
def house() -> Iterator[House]:
    with stepped_loop() as loop:
        made = House(loop)
        yield made
        made.close()


# ---- the budget ------------------------------------------------------------------------------


def test_a_burst_passes_and_one_chunk_more_waits() -> None:
    assert WorkBudget(50.0).spend(BURST, 0, 50.0) == 0
    assert WorkBudget(50.0).spend(BURST + 1, 0, 50.0) == pytest.approx(1 / WORK_PER_S)


def test_the_budget_for_ever_never_waits_and_one_in_a_hundred_more_does() -> None:
    steady, more = WorkBudget(0.0), WorkBudget(0.0)
    for second in range(100):
        now = float(second)
        for tenth in range(10):
            work = (second * 10 + tenth) * WORK_PER_S // 10
            at = now + tenth / 10
            assert steady.spend(work, 0, at) == 0
            waits = more.spend(work + work // 100, 0, at)
    assert waits > 0


def test_what_was_not_used_is_kept_up_to_a_burst() -> None:
    budget = WorkBudget(0.0)
    assert budget.spend(BURST, 0, 0.0) == 0
    assert budget.spend(2 * BURST, 0, 3600.0) == 0
    assert budget.spend(2 * BURST + 1_000, 0, 3600.0) == pytest.approx(1_000 / WORK_PER_S)


def test_commands_have_a_smaller_bucket_of_their_own() -> None:
    burst = round(SIDE_BURST_S * SIDE_WORK_PER_S)
    assert WorkBudget(50.0).spend(burst, burst, 50.0) == 0
    assert WorkBudget(50.0).spend(burst + 1, burst + 1, 50.0) == pytest.approx(1 / SIDE_WORK_PER_S)
    assert WorkBudget(50.0).spend(burst + 1, burst, 50.0) == 0


@pytest.mark.parametrize(("share", "is_ended"), [(0.99, False), (2.0, True)])
def test_commands_beyond_the_bucket_for_too_long_are_too_much(share: float, is_ended: bool) -> None:
    budget, side = WorkBudget(0.0), SIDE_BURST_S * SIDE_WORK_PER_S
    ended_at = None
    for tenth in range(1, 300):
        now = tenth / 10
        side += share * SIDE_WORK_PER_S / 10
        budget.spend(round(side), round(side), now)
        if budget.is_too_much(now):
            ended_at = ended_at or now
    assert (ended_at is not None) is is_ended
    assert ended_at is None or TOO_MUCH_S <= ended_at <= TOO_MUCH_S + 2


def test_bursts_with_calm_between_them_are_never_too_much() -> None:
    budget, side = WorkBudget(0.0), 0.0
    for burst in range(20):
        now = burst * (2 * SIDE_BURST_S + 2 * CALM_S)
        side += 2 * SIDE_BURST_S * SIDE_WORK_PER_S
        assert budget.spend(round(side), round(side), now) > 0
        assert not budget.is_too_much(now)


# ---- a connection ----------------------------------------------------------------------------


def tiny(payload: bytes, count: int = 1) -> bytes:
    """``count`` video messages on chunk streams 40 and 41 each, in chunks of one byte that take turns."""
    head = bytes([42, 0, 0, 0, 0, 0, 4, 1, 0, 0, 0, 0, 0, 0, 0, 1])
    out = bytearray(head)
    for number in range(count):
        pair = [
            bytes([csid]) + (number * 40).to_bytes(3, "big") + len(payload).to_bytes(3, "big")
            + bytes([9, 1, 0, 0, 0]) for csid in (40, 41)
        ]  # fmt: skip
        for index, byte in enumerate(payload):
            for start, csid in zip(pair, (40, 41), strict=True):
                out += (start if not index else bytes([0xC0 | csid])) + bytes([byte])
    return bytes(out)


def published(house: House) -> tuple[Peer, Peer]:
    """A publisher that is played."""
    publisher = house.publisher()
    player = house.player()
    house.send(publisher, video(0, KEYFRAME))
    return publisher, player


def pour(house: House, peer: Peer, data: bytes) -> None:
    peer._unsent += data
    house.settle()


def restored(peer: Peer) -> bytes:
    """The end of ``tiny``, so that what the peer's session sends is understood again."""
    size = peer.session._writer.chunk_size.to_bytes(4, "big")
    return bytes([42, 0, 0, 0, 0, 0, 4, 1, 0, 0, 0, 0]) + b"\xea".join(bytes([byte]) for byte in size)


PAYLOAD = KEYFRAME + bytes(range(256)) * 80


def test_tiny_chunks_are_paced_counted_and_read_whole(house: House) -> None:
    """More than the burst: the rest comes as time passes, no faster than the budget."""
    publisher, player = published(house)
    data = tiny(PAYLOAD, count=2)  # 2 x 2 x 20,485 chunks
    pour(house, publisher, data)
    assert house.counters.reads_paced == 1
    read_at_once = len(player.media)
    assert read_at_once < 5
    house.advance(0.1)
    assert len(player.media) == read_at_once, "no faster than the budget"
    for _ in range(10):
        house.advance(0.1)
    frames = [each for each in player.media if len(each.payload) == len(PAYLOAD)]
    assert [bytes(each.payload) for each in frames] == [PAYLOAD] * 4
    assert not publisher.closed
    assert house.counters.reads_paced > 5
    before = house.counters.reads_paced
    house.advance(5)
    pour(house, publisher, restored(publisher))
    house.send(publisher, *(video(100 + number) for number in range(100)))
    assert house.counters.reads_paced == before


def test_within_the_budget_a_read_of_many_chunks_gives_others_their_turns(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(poller, "STRANGERS_TURN_S", 0.0)
    publisher, player = published(house)
    turns = 0

    def count_turns() -> None:
        nonlocal turns
        turns += 1

    house.poller._after_turn, after = lambda: (count_turns(), after()), house.poller._after_turn
    data = tiny(KEYFRAME + bytes(5_000))
    assert WORK_PER_TURN * 4 < 10_000 < BURST
    pour(house, publisher, data)
    assert turns >= 10_000 // WORK_PER_TURN
    assert house.counters.reads_paced == 0
    assert len(player.media[-1].payload) == 5_005


def test_a_flood_of_messages_is_paced_as_well(house: House) -> None:
    publisher, player = published(house)
    count = BURST // 4 + 4 * WORK_PER_LOOK
    first = bytes([40, 0, 0, 0, 0, 0, 2, 8, 1, 0, 0, 0]) + b"\xaf\x01"
    pour(house, publisher, first + b"\xe8\xaf\x01" * (count - 1))
    assert house.counters.reads_paced
    for _ in range(20):
        house.advance(0.1)
    assert sum(each.type_id == 8 for each in player.media) == count


@pytest.mark.parametrize("how", ["leaves", "breaks the rules", "is told off"])
def test_the_end_of_a_paced_connection_is_seen(house: House, how: str) -> None:
    publisher, _ = published(house)
    data = tiny(PAYLOAD, count=2)
    pour(house, publisher, data + (b"\xff" if how == "breaks the rules" else b""))
    assert house.counters.reads_paced
    [connection] = [each for each in house.sessions._connections if each.publications]
    if how == "leaves":
        house.leave(publisher)
    elif how == "is told off":
        connection.end(CloseReason.DRAINED, "")
    for _ in range(50):
        house.advance(0.2)
    assert connection not in house.sessions._connections
    expected = {"leaves": "peer_closed", "breaks the rules": "bad_chunk", "is told off": "drained"}
    assert house.counters.closes == {expected[how]: 1}


def test_a_paced_peer_is_pinged_and_its_answers_are_heard(house: House) -> None:
    publisher, _ = published(house)
    [connection] = [each for each in house.sessions._connections if each.publications]
    flood = tiny(PAYLOAD) + restored(publisher)
    for _ in range(30):  # a ping goes out after 20 s
        pour(house, publisher, flood)
        house.advance(0.5)
        house.advance(0.5)
    assert house.counters.reads_paced > 20
    assert connection.session.rtt_ms is not None
    assert house.counters.closes == {}


def test_normal_media_are_never_looked_at(house: House) -> None:
    publisher, player = published(house)
    messages: list[Message] = [video(40 * number, size=50_000) for number in range(1, 101)]
    house.send(publisher, *messages)
    assert house.counters.reads_paced == 0
    assert len(player.times()) == 101


def test_large_headers_are_sent_again_and_again_only_as_often_as_their_size_allows(house: House) -> None:
    """Each play is sent the headers of its stream: a command of 40 bytes, and a megabyte of metadata."""
    metadata = amf0.encode("@setDataFrame", "onMetaData", {"keyframes": "x" * 60_000, **_large(16)})
    publisher = house.publisher()
    house.send(publisher, Message(18, 0, metadata), video(0, KEYFRAME))
    player = house.player()
    plays, cost = 60, len(metadata) // HEADER_BYTES_PER_WORK
    for _ in range(plays):
        player.session.play("a", stream_id=1)
        house.settle()
    sent = sum(len(each.payload) > 900_000 for each in player.media)
    assert sent <= 1 + SIDE_BURST_S * SIDE_WORK_PER_S / cost
    house.advance(1.0)
    house.advance(1.0)
    more = sum(len(each.payload) > 900_000 for each in player.media) - sent
    assert 0 < more <= 2 + 2 * SIDE_WORK_PER_S / cost
    assert not player.closed


def _large(count: int) -> dict[str, AmfValue]:
    return {f"value{number}": "y" * 60_000 for number in range(count)}
