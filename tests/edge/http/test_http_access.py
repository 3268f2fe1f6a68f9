"""Who may play over HTTP: verdicts at once and late, what a no looks like, and tickets of HLS."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Awaitable, Callable, Iterator

import pytest

from cluster.edge.http.answer import Answer
from cluster.edge.http.tickets import FIELD, TICKET_S, Tickets, ticket_in, with_ticket
from cluster.edge.peers.access import Access, Allow, Deny, Refused, Verdict
from support.house import AVC_HEADER, KEY, House, stepped_loop, video
from support.http_peer import HttpPeer

ANSWERED_LATE_S = 1.0


class Judge:
    """Answers what it was told to, at once or a second later, and keeps what it was asked."""

    def __init__(self, answer: Callable[[Access], Verdict], *, late: bool = False) -> None:
        self.asked: list[Access] = []
        self._answer = answer
        self._late = late

    def judge(self, access: Access) -> Verdict | Awaitable[Verdict]:
        self.asked.append(access)
        return self._think(access) if self._late else self._answer(access)

    async def _think(self, access: Access) -> Verdict:
        await asyncio.sleep(ANSWERED_LATE_S)
        return self._answer(access)

    def challenge(self, app: str, query: str, *, publishes: bool, now_s: float) -> tuple[str, str]:
        return "", ""


@pytest.fixture
def house() -> Iterator[House]:
    with stepped_loop() as loop:
        house = House(loop)
        yield house
        house.close()


def live(house: House, name: str) -> None:
    house.send(house.publisher(name), video(0, AVC_HEADER), video(0, KEY))


def by_password(access: Access) -> Verdict:
    if access.query == "pass=right" or access.authorization.startswith("Basic "):
        return Allow(user="ann")
    why = Refused.BAD_CREDENTIALS if access.query else Refused.NO_CREDENTIALS
    return Deny("say who you are", why=why, schemes=("Basic",))


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("path", ["/live/x.flv", "/live/x.mp4", "/live/x.m3u8"])
def test_who_shows_nothing_is_asked_for_it(house: House, path: str, late: bool) -> None:
    house.use_judge(Judge(by_password, late=late))
    viewer = HttpPeer(house).get(path)
    house.advance(ANSWERED_LATE_S)
    assert viewer.answer.status == 401
    assert viewer.answer.fields["www-authenticate"].startswith("Basic ")
    assert viewer.answer.fields["access-control-allow-origin"] == "*"
    assert house.counters.access_denied == {"no_credentials": 1}
    assert house.counters.players == 0


def test_what_a_request_shows_reaches_the_judge_and_nobody_keeps_it(house: House) -> None:
    judge = Judge(by_password)
    live(house, "x")
    house.use_judge(judge)
    shown = base64.b64encode(b"ann:secret").decode()
    viewer = HttpPeer(house).get(
        "/live/x.flv?a=b", f"Authorization: Basic {shown}", "User-Agent: vlc", "Origin: https://a.example"
    )
    house.advance(1.0)
    (asked,) = judge.asked
    assert asked == Access(
        "play", "live/x", "192.0.2.9:40000", "http", asked.session, query="a=b",
        authorization=f"Basic {shown}", agent="vlc",
    )  # fmt: skip
    assert viewer.answer.status == 200
    (connection,) = house.http._connections
    assert connection.player is not None
    assert b"authorization" not in connection.player.request.headers


def test_a_guess_is_answered_late_and_others_are_not(house: House) -> None:
    live(house, "x")
    house.use_judge(Judge(by_password))
    guess = HttpPeer(house).get("/live/x.flv?pass=wrong")
    right = HttpPeer(house).get("/live/x.flv?pass=right")
    house.advance(0.9)
    assert guess.received == b""
    assert house.counters.http_players == {"flv": 1}
    house.advance(3.0)
    assert right.answer.status == 200
    assert guess.answer.status == 401
    assert house.counters.access_denied == {"bad_credentials": 1}


@pytest.mark.parametrize(
    ("denied", "status", "location"),
    [
        (Deny("not from here"), 403, None),
        (Deny("no", why=Refused.NO_CREDENTIALS), 403, None),  # no scheme of Authorization would help
        (Deny("later", why=Refused.HOOK_FAILED), 503, None),
        (Deny("there", redirect="https://other.example/x.flv"), 302, "https://other.example/x.flv"),
    ],
)
def test_each_no_has_its_status(house: House, denied: Deny, status: int, location: str | None) -> None:
    house.use_judge(Judge(lambda access: denied))
    viewer = HttpPeer(house).get("/live/x.flv")
    assert (viewer.answer.status, viewer.answer.fields.get("location")) == (status, location)
    assert viewer.answer.body == denied.text.encode() + b"\n"


def test_a_judge_that_fails_lets_nobody_in(house: House, caplog: pytest.LogCaptureFixture) -> None:
    def fails(access: Access) -> Verdict:
        raise RuntimeError("broken")

    for late in (False, True):
        house.use_judge(Judge(fails, late=late))
        viewer = HttpPeer(house).get("/live/x.flv")
        house.advance(ANSWERED_LATE_S)
        assert viewer.answer.status == 503
    assert [each.message for each in caplog.records].count("nobody could decide") == 2


def test_who_leaves_while_the_judge_thinks_leaves_nothing_behind(house: House) -> None:
    house.use_judge(Judge(by_password, late=True))
    viewer = HttpPeer(house).get("/live/x.flv?pass=right")
    house.leave(viewer)
    house.advance(ANSWERED_LATE_S)
    assert (house.counters.players, house.counters.http_connections) == (0, 0)


def test_requests_behind_one_that_waits_for_its_verdict_are_answered_in_order(house: House) -> None:
    house.use_judge(Judge(by_password, late=True))
    viewer = HttpPeer(house).get("/live/x.m3u8").get("/live/x")
    assert viewer.received == b""
    house.advance(ANSWERED_LATE_S)
    assert [answer.status for answer in viewer.answers()] == [401, 200]


def test_a_stream_under_another_key(house: House) -> None:
    live(house, "real")
    house.use_judge(Judge(lambda access: Allow(key="live/real") if access.key == "live/x" else Allow()))
    flv = HttpPeer(house).get("/live/x.flv")
    house.advance(1.0)
    assert flv.answer.status == 200
    hls = HttpPeer(house).get("/live/x.m3u8")
    location = hls.answer.fields["location"]
    assert hls.answer.status == 302
    path, _, query = location.partition("?")
    assert path == "/live/real.m3u8"
    assert Tickets(bytes(32)).is_good("live/real", ticket_in(query))


def test_the_session_ends_with_what_let_it_in(house: House) -> None:
    live(house, "x")
    house.use_judge(Judge(lambda access: Allow(ends_at=house.control.time() + 10)))
    viewer = HttpPeer(house).get("/live/x.flv")
    house.advance(5.0)
    assert house.counters.http_players == {"flv": 1}
    house.advance(12.0)
    assert house.counters.http_players == {"flv": 0}
    assert house.counters.http_closes == {"access_ended": 1}
    assert viewer.closed


# ---- tickets ---------------------------------------------------------------------------------


def hls(house: House, path: str) -> tuple[int, str]:
    viewer = HttpPeer(house).get(path)
    return viewer.answer.status, viewer.answer.body.decode("latin-1")


def published(house: House) -> None:
    publisher = house.publisher("x")
    house.send(publisher, video(0, AVC_HEADER))
    for ms in range(0, 9000, 40):
        house.send(publisher, video(ms, KEY if ms % 2000 == 0 else bytes.fromhex("2701000000")))
        house.advance(0.04)


def test_playlists_carry_a_ticket_that_everything_else_is_served_for(house: House) -> None:
    HttpPeer(house).get("/live/x.m3u8")  # it is made from here on
    judge = Judge(by_password)
    published(house)
    house.use_judge(judge)
    status, master = hls(house, "/live/x.m3u8?pass=right")
    assert status == 200
    media = master.splitlines()[-1]
    assert media.startswith(f"x/media.m3u8?{FIELD}=")
    status, playlist = hls(house, f"/live/{media}")
    ticket = ticket_in(media.partition("?")[2])
    lines = playlist.splitlines()
    addresses = [line for line in lines if not line.startswith("#")]
    addresses += [line.partition('URI="')[2].partition('"')[0] for line in lines if 'URI="' in line]
    assert status == 200
    assert len(addresses) > 10
    assert all(address.endswith(f"?{FIELD}={ticket}") for address in addresses)
    asked = len(judge.asked)
    for address in addresses[:3]:
        assert hls(house, f"/live/x/{address}")[0] == 200
        assert hls(house, f"/live/x/{address.partition('?')[0]}")[0] == 401
    assert len(judge.asked) == asked + 3  # those without
    house.use_judge(None)
    assert FIELD not in hls(house, "/live/x/media.m3u8")[1]


def test_streams_that_are_for_all_have_playlists_that_are_for_all(house: House) -> None:
    HttpPeer(house).get("/live/x.m3u8")
    published(house)
    plain = hls(house, "/live/x/media.m3u8")
    house.use_judge(Judge(lambda access: Allow(is_for_all=True)))
    assert hls(house, "/live/x/media.m3u8") == plain


def test_a_ticket_is_for_one_stream_and_a_time() -> None:
    now = [1_000_000.0]
    tickets = Tickets(b"secret", lambda: now[0])
    ticket = tickets.issue("live/x", None)
    short = tickets.issue("live/x", now[0] + 60)
    assert tickets.is_good("live/x", ticket)
    assert not tickets.is_good("live/y", ticket)
    assert not Tickets(b"other", lambda: now[0]).is_good("live/x", ticket)
    until, _, signature = ticket.partition(".")
    assert not tickets.is_good("live/x", f"{int(until, 16) + 1:x}.{signature}")
    for wrong in ("", ".", ticket[:-1], ticket + "A", "é", f"-1.{signature}"):
        assert not tickets.is_good("live/x", wrong)
    now[0] += 61
    assert (tickets.is_good("live/x", ticket), tickets.is_good("live/x", short)) == (True, False)
    now[0] += TICKET_S
    assert not tickets.is_good("live/x", ticket)


def test_a_player_that_is_sent_on_keeps_its_ticket() -> None:
    sent_on = Answer(307, "text/plain", "no-store", [b"ask again\n"], location="7.m4s?again=1")
    assert with_ticket(sent_on, "T", is_new=False).location == "7.m4s?again=1&ticket=T"


def test_media_that_was_let_in_by_credentials_is_kept_by_no_cache_that_others_ask(house: House) -> None:
    """By Authorization, or by where the viewer is: the address says nothing that others do not know."""
    HttpPeer(house).get("/live/x.m3u8")
    published(house)
    house.use_judge(Judge(lambda access: Allow(user="ann")))
    _, playlist = hls(house, "/live/x/media.m3u8")
    segment = next(line for line in playlist.splitlines() if not line.startswith("#"))
    bare = segment.partition("?")[0]
    for address, kept in ((segment, "public, max-age=3600"), (bare, "private, max-age=3600")):
        answer = HttpPeer(house).get(f"/live/x/{address}").answer
        assert (answer.status, answer.fields["cache-control"]) == (200, kept)
