"""What a player of low-latency HLS asks for, and what it makes of the answers, without a socket."""

from __future__ import annotations

import pytest
from live_http import AUDIO, VIDEO, fragment, init_section, stamped

from cluster.load import hls_dialogue
from cluster.load.fault import ServerFault
from cluster.load.hls_dialogue import MAX_FAILED_IN_A_ROW, HlsDialogue
from cluster.load.hls_playlist import Place, first_variant, is_multivariant, read_playlist
from cluster.load.http_url import HttpUrl

PLAYLIST = """\
#EXTM3U
#EXT-X-VERSION:9
#EXT-X-TARGETDURATION:2
#EXT-X-MEDIA-SEQUENCE:40
#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK=0.75,HOLD-BACK=6
#EXT-X-PART-INF:PART-TARGET=0.25
#EXT-X-MAP:URI="first.mp4"
#EXTINF:2.0,
40.m4s
#EXT-X-DISCONTINUITY
#EXT-X-MAP:URI="second.mp4"
#EXT-X-PART:DURATION=0.25,URI="41.0.m4s",INDEPENDENT=YES
#EXT-X-PART:DURATION=0.25,URI="41.1.m4s"
#EXT-X-PROGRAM-DATE-TIME:2026-11-29T12:00:00.000Z
#EXTINF:0.5,live
41.m4s
#EXT-X-PART:DURATION=0.25,URI="42.0.m4s",INDEPENDENT=YES
#EXT-X-PART:DURATION=0.25,URI="42.1.m4s",GAP=YES
#EXT-X-PART:DURATION=0.25,URI="42.2.m4s"
#EXT-X-PRELOAD-HINT:TYPE=PART,URI="42.3.m4s"
"""


def test_the_parts_of_a_playlist() -> None:
    found = read_playlist(PLAYLIST)
    assert [(part.place, part.uri, part.independent, part.init) for part in found.parts] == [
        (Place(41, 0), "41.0.m4s", True, "second.mp4"), (Place(41, 1), "41.1.m4s", False, "second.mp4"),
        (Place(42, 0), "42.0.m4s", True, "second.mp4"), (Place(42, 2), "42.2.m4s", False, "second.mp4"),
    ]  # fmt: skip
    assert (found.part_target_s, found.blocks, found.ended, found.open_segment) == (0.25, True, False, 42)
    assert found.newest_start is not None
    assert found.newest_start.place == (42, 0)
    assert found.after(Place(41, 1)) == found.parts[2]
    assert found.after(Place(42, 2)) is None
    assert found.expected_after(Place(42, 2)) == (42, 3)
    assert found.expected_after(Place(41, 1)) == (42, 0)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("<html>", "does not begin with #EXTM3U"),
        ("#EXTM3U\n#EXTINF:2,\na.ts\n", "only low-latency HLS"),
        (PLAYLIST.replace("SEQUENCE:40", "SEQUENCE:many"), "a number that is none"),
        (PLAYLIST.replace("TARGET=0.25", "TARGET=soon"), "a number that is none"),
        (PLAYLIST.replace("TARGET=0.25", "TARGET=inf"), "a number that is none"),
        (PLAYLIST.replace("PART-INF:PART-TARGET=0.25", "PART-INF:"), "only low-latency HLS"),
        (PLAYLIST.replace(",GAP=YES", ',BYTERANGE="5@0"'), "a piece of a file"),
    ],
)
def test_playlists_that_are_not_played(text: str, says: str) -> None:
    with pytest.raises(ServerFault, match=says):
        read_playlist(text)


def test_the_first_stream_of_a_multivariant_playlist() -> None:
    text = "#EXTM3U\n\n#EXT-X-STREAM-INF:BANDWIDTH=5\n# a word\nlow/media.m3u8\n"
    assert is_multivariant(text)
    assert not is_multivariant(PLAYLIST)
    assert first_variant(text) == "low/media.m3u8"
    with pytest.raises(ServerFault, match="names no stream"):
        first_variant("#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=5\n")


# The conversation.


def playlist(segment: int, parts: int, *, first: int = 41) -> str:
    """``parts`` of the open segment, and both of each before it."""
    lines = ["#EXTM3U", f"#EXT-X-MEDIA-SEQUENCE:{first}", "#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES",
             "#EXT-X-PART-INF:PART-TARGET=0.25", '#EXT-X-MAP:URI="i.mp4"']  # fmt: skip
    for number in range(first, segment + 1):
        for part in range(2 if number < segment else parts):
            start = ",INDEPENDENT=YES" if part == 0 else ""
            lines.append(f'#EXT-X-PART:DURATION=0.25,URI="{number}.{part}.m4s"{start}')
        lines += ["#EXTINF:0.5,", f"{number}.m4s"] if number < segment else []
    return "\n".join([*lines, ""])


def answer(body: bytes | str, status: int = 200, *more: str) -> bytes:
    whole = body.encode() if isinstance(body, str) else body
    lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(whole)}", *more, "", ""]
    return "\r\n".join(lines).encode() + whole


def part(number: int) -> bytes:
    return fragment([(kind, number, stamped(kind, number, 7)) for kind in (VIDEO, AUDIO)])


class Talk:
    """One dialogue; ``step`` answers what it asks for now, ``cut`` bytes at a time."""

    def __init__(self, url: str = "http://h/live/s.m3u8", cut: int = 1 << 20) -> None:
        self.player = HlsDialogue(HttpUrl.parse(url))
        self.cut = cut
        self.frames = 0

    def asked(self) -> str:
        request = self.player.outgoing().decode()
        return request.split(" ")[1] if request else ""

    def step(self, wanted: str, body: bytes | str, status: int = 200, *more: str) -> None:
        assert self.asked() == wanted
        data = answer(body, status, *more)
        for at in range(0, len(data), self.cut):
            self.frames += len(self.player.receive(data[at : at + self.cut]))


@pytest.fixture
def joined() -> Talk:
    """Plays, and has part 0 of segment 42."""
    return join(Talk())


def join(talk: Talk) -> Talk:
    talk.step("/live/s.m3u8", "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=5\ns/media.m3u8?k=1\n")
    talk.step("/live/s/media.m3u8?k=1", playlist(42, 1))
    talk.step("/live/s/i.mp4", init_section())
    talk.step("/live/s/42.0.m4s", part(0))
    return talk


def blocking(segment: int, number: int) -> str:
    return f"/live/s/media.m3u8?_HLS_msn={segment}&_HLS_part={number}&k=1"


@pytest.mark.parametrize("cut", [1 << 20, 1, 61])
def test_it_follows_the_live_edge_part_by_part(cut: int) -> None:
    talk = join(Talk(cut=cut))
    talk.step(blocking(42, 1), playlist(43, 0))
    talk.step("/live/s/42.1.m4s", part(1))
    talk.step(blocking(43, 0), playlist(43, 1))
    talk.step("/live/s/43.0.m4s", part(2))
    talk.step(blocking(43, 1), playlist(44, 1))
    talk.step("/live/s/43.1.m4s", part(3))
    talk.step("/live/s/44.0.m4s", part(4))
    assert talk.asked() == blocking(44, 1)
    assert talk.frames == 2 * 5
    player = talk.player
    assert (player.asked, player.ready, player.failed, player.answered) == (True, True, None, 11)
    assert player.media_bytes == len(init_section()) + sum(len(part(number)) for number in range(5))


def test_numbers_that_jump_are_followed_in_the_order_of_the_list(joined: Talk) -> None:
    joined.step(blocking(42, 1), playlist(900, 1, first=899))
    joined.step("/live/s/899.0.m4s", part(1))
    joined.step("/live/s/899.1.m4s", part(1))
    joined.step("/live/s/900.0.m4s", part(1))
    assert joined.asked() == blocking(900, 1)


def test_a_new_initialization_section_is_fetched_before_its_part(joined: Talk) -> None:
    joined.step(blocking(42, 1), playlist(43, 1).replace("i.mp4", "/other.mp4"))
    joined.step("/other.mp4", init_section())
    joined.step("/live/s/42.1.m4s", part(1))
    joined.step("/live/s/43.0.m4s", part(1))


def test_parts_are_only_counted_by_who_does_not_decode(joined: Talk) -> None:
    joined.player.decodes = False
    joined.frames = 0
    before = joined.player.media_bytes
    joined.step(blocking(42, 1), playlist(43, 0))
    joined.step("/live/s/42.1.m4s", b"no MP4 at all")
    assert joined.asked() == blocking(43, 0)
    assert joined.frames == 0
    assert joined.player.media_bytes == before + len(b"no MP4 at all")


def test_a_list_with_nothing_new_is_not_asked_for_at_once(joined: Talk) -> None:
    joined.step(blocking(42, 1), playlist(42, 1))
    assert joined.player.pause_ns == 125_000_000
    assert joined.asked() == ""
    joined.player.resume()
    assert joined.asked() == blocking(42, 1)


def test_a_stream_that_has_no_parts_yet() -> None:
    talk = Talk()
    talk.step("/live/s.m3u8", playlist(41, 0))
    assert talk.asked() == ""
    talk.player.resume()
    talk.step("/live/s.m3u8", playlist(41, 1))
    talk.step("/live/i.mp4", init_section())
    assert talk.asked() == "/live/41.0.m4s"


def test_a_refusal_before_there_is_media_is_the_end() -> None:
    talk = Talk()
    talk.step("/live/s.m3u8", "no publisher\n", 404)
    assert talk.player.failed == "HTTP 404: no publisher"
    assert talk.player.failures == []


def test_a_refusal_later_is_counted_and_the_list_asked_for_after_a_while(joined: Talk) -> None:
    joined.step(blocking(42, 1), "", 503)
    assert joined.player.failures == ["the playlist: HTTP 503"]
    assert joined.player.pause_ns == hls_dialogue.RETRY_NS
    joined.player.resume()
    joined.step("/live/s/media.m3u8?k=1", playlist(43, 1))
    joined.step("/live/s/42.1.m4s", part(1))
    joined.step("/live/s/43.0.m4s", part(2))
    assert joined.frames == 2 * 3


def test_refusals_without_end_are_the_end(joined: Talk) -> None:
    joined.step(blocking(42, 1), playlist(43, 1))
    for _ in range(MAX_FAILED_IN_A_ROW):
        joined.step("/live/s/42.1.m4s", "gone", 404)
        joined.player.resume()
        joined.step("/live/s/media.m3u8?k=1", playlist(43, 1))
    assert joined.player.failed is None
    joined.step("/live/s/42.1.m4s", "gone", 404)
    assert joined.player.failed == "HTTP 404: gone"


def test_the_end_of_a_stream(joined: Talk) -> None:
    joined.step(blocking(42, 1), playlist(42, 1) + "#EXT-X-ENDLIST\n")
    assert joined.player.failed == "the stream has ended"


# Connections.


def test_a_connection_that_the_server_ends_is_followed_by_another(joined: Talk) -> None:
    joined.step(blocking(42, 1), playlist(43, 0), 200, "Connection: close")
    assert joined.player.at_end
    assert joined.asked() == ""
    joined.player.connected()
    assert joined.asked() == "/live/s/42.1.m4s"


def test_what_was_not_answered_is_asked_again(joined: Talk) -> None:
    player = joined.player
    assert joined.asked() == blocking(42, 1)
    assert player.interrupted("closed")
    assert (player.failures, player.pause_ns) == ([], 0)
    player.connected()
    joined.step(blocking(42, 1), playlist(43, 0))


def test_an_answer_that_is_cut_off_has_failed_and_is_asked_for_after_a_while(joined: Talk) -> None:
    player = joined.player
    joined.step(blocking(42, 1), playlist(43, 0))
    assert joined.asked() == "/live/s/42.1.m4s"
    player.receive(answer(part(1))[:-1])
    assert player.interrupted("closed")
    assert (player.failures, player.pause_ns) == (["a part: closed"], hls_dialogue.RETRY_NS)
    player.connected()
    assert joined.asked() == ""
    player.resume()
    assert joined.asked() == "/live/s/42.1.m4s"
    # This connection has answered nothing: it is not the end of what servers may end.
    assert player.interrupted("closed")
    assert player.failures == ["a part: closed"] * 2
    player.resume()
    player.connected()
    joined.frames = 0
    joined.step("/live/s/42.1.m4s", part(1))
    assert joined.frames == 2


def test_connections_that_answer_nothing_are_the_end() -> None:
    talk = Talk()
    assert talk.asked() == "/live/s.m3u8"
    assert not talk.player.interrupted("closed")
    joined = join(Talk())
    for _ in range(MAX_FAILED_IN_A_ROW + 1):  # the first ends between two answers
        assert joined.player.interrupted("closed")
        joined.player.connected()
    assert not joined.player.interrupted("closed")


# What is wrong.


@pytest.mark.parametrize("uri", ["http://other/x.m4s", "//h:81/x.m4s", "\N{SNOWMAN}", "a b.m4s", "//[x"])
def test_addresses_that_are_not_followed(uri: str, joined: Talk) -> None:
    with pytest.raises(ServerFault, match="a playlist"):
        joined.step(blocking(42, 1), playlist(43, 0).replace("42.1.m4s", uri))


@pytest.mark.parametrize("uri", ["http://h/x.m4s?a=1", "//h:80/x.m4s?a=1", "/x.m4s?a=1", "../../x.m4s?a=1"])
def test_addresses_that_are_followed(uri: str, joined: Talk) -> None:
    joined.step(blocking(42, 1), playlist(43, 0).replace("42.1.m4s", uri))
    assert joined.asked() == "/x.m4s?a=1"


def test_what_is_kept_of_an_answer_is_bounded(
    joined: Talk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hls_dialogue, "MAX_PLAYLIST_BYTES", len(playlist(43, 0)))
    monkeypatch.setattr(hls_dialogue, "MAX_PART_BYTES", 100)
    joined.step(blocking(42, 1), playlist(43, 0))
    with pytest.raises(ServerFault, match="a part has more than 100 bytes"):
        joined.step("/live/s/42.1.m4s", bytes(101))
    other = Talk()
    with pytest.raises(ServerFault, match="the playlist has more than"):
        other.step("/live/s.m3u8", playlist(43, 0) + "#")


def test_an_answer_that_nobody_asked_for(joined: Talk) -> None:
    joined.step(blocking(42, 1), playlist(42, 1))
    with pytest.raises(ServerFault, match="no HTTP"):
        joined.player.receive(b"\0")
