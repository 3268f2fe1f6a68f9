"""Who may play over HTTP/2: each stream is asked for itself, and ends for itself."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterator

import pytest

from cluster.edge.peers.access import Access, Allow, Deny, Refused, Verdict
from support.h2_peer import H2Peer
from support.house import AVC_HEADER, KEY, House, stepped_loop, video


@pytest.fixture
def house() -> Iterator[House]:
    with stepped_loop() as loop:
        house = House(loop)
        yield house
        house.close()


class Judge:
    """Lets in who shows the password, for so long; whose query says "late", after a second."""

    def __init__(self, house: House, lasts_s: float | None = None) -> None:
        self.asked: list[Access] = []
        self._house = house
        self._lasts_s = lasts_s

    def judge(self, access: Access) -> Verdict | Awaitable[Verdict]:
        self.asked.append(access)
        return self._think(access) if "late" in access.query else self._answer(access)

    async def _think(self, access: Access) -> Verdict:
        await asyncio.sleep(1.0)
        return self._answer(access)

    def _answer(self, access: Access) -> Verdict:
        if "right" not in access.query and not access.authorization:
            return Deny("say who you are", why=Refused.NO_CREDENTIALS, schemes=("Basic",))
        ends_at = None if self._lasts_s is None else self._house.control.time() + self._lasts_s
        return Allow(user="ann", ends_at=ends_at)

    def challenge(self, app: str, query: str, *, publishes: bool, now_s: float) -> tuple[str, str]:
        return "", ""


def live(house: House, name: str) -> None:
    house.send(house.publisher(name), video(0, AVC_HEADER), video(0, KEY))


@pytest.mark.parametrize("path", ["/live/x.flv", "/live/x.m3u8"])
def test_who_shows_nothing_is_asked_for_it(house: House, path: str) -> None:
    house.use_judge(Judge(house))
    peer = H2Peer(house)
    now, late = peer.ask(path), peer.ask(f"{path}?late")
    house.settle()
    house.advance(1.1)
    for number in (now, late):
        assert peer.replies[number].status == 401
        assert peer.replies[number].fields["www-authenticate"].startswith("Basic ")
    assert not peer.closed


def test_what_a_request_shows_reaches_the_judge(house: House) -> None:
    live(house, "x")
    judge = Judge(house)
    house.use_judge(judge)
    peer = H2Peer(house)
    reply = peer.get("/live/x.flv", ("authorization", "Basic YTpi"), ("user-agent", "vlc"))
    house.advance(1.0)
    assert reply.status == 200
    [asked] = judge.asked
    assert (asked.authorization, asked.agent, asked.peer) == ("Basic YTpi", "vlc", "192.0.2.9:40000")


def test_an_authorization_that_is_too_long(house: House) -> None:
    peer = H2Peer(house)
    reply = peer.get("/live/x.flv", ("authorization", "a" * 5000))
    assert (reply.status, reply.ended) == (431, True)
    assert not peer.closed


def test_two_authorizations(house: House) -> None:
    peer = H2Peer(house)
    reply = peer.get("/live/x.flv", ("authorization", "Basic eDp5"), ("authorization", "Basic eDp6"))
    assert (reply.status, reply.ended) == (400, True)
    assert not peer.closed


def test_who_goes_while_it_is_thought_about_is_not_answered(house: House) -> None:
    live(house, "x")
    house.use_judge(Judge(house))
    peer = H2Peer(house)
    number = peer.ask("/live/x.flv?late&pass=right")
    house.settle()
    peer.protocol.reset_stream(number)
    house.settle()
    house.advance(1.1)
    assert house.counters.http_players.get("flv", 0) == 0
    assert peer.get("/live/x").status == 200


def test_a_right_that_ends_ends_its_stream(house: House) -> None:
    live(house, "x")
    house.use_judge(Judge(house, lasts_s=10))
    peer = H2Peer(house)
    reply = peer.get("/live/x.flv?pass=right")
    house.advance(5.0)
    assert house.counters.http_players == {"flv": 1}
    house.advance(12.0)
    assert reply.ended
    assert house.counters.http_players == {"flv": 0}
    assert house.counters.http_closes == {"access_ended": 1}
    assert not peer.closed
