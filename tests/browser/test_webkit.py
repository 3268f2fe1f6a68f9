"""The page plays in WebKitGTK, as much of Safari as Debian has: its engine, with GStreamer's media.

Where WebKitGTK does something else than is specified, the page minds it:

- A seek before the first picture is there hangs it for good, now and then. So what is played begins at 0.
- Each change of ``playbackRate`` sets ``muted`` to false. So a silent page has a volume of zero too.
- ``totalVideoFrames`` begins anew with each change of ``playbackRate``.
- Its own HLS, which it has where ``WEBKIT_GST_ENABLE_HLS_SUPPORT=1`` says so, takes the time in a segment
  (``tfdt``) for one since it began to play: it shows the first picture, then waits for as long as the
  stream is old. So does GStreamer's older ``hlsdemux`` alone; ``hlsdemux2`` does not, but WebKitGTK does
  not take it. So streams are young here where it plays HLS.
"""

from __future__ import annotations

import pytest
from browser_cluster import Cluster, HttpEdge, StartPublisher
from watching import SHOTS, Watch, wait_live, wait_moving, wait_words
from webkit import WebKitPage

from support.cluster_process import kill_worker
from support.polling import wait_until

WATCH_S = 6.0
#: At first it catches up with the newest picture, and finds out how uneven the stream is.
SETTLE_S = 5.0
DELAY_P50_MS = 500
#: The page keeps so much more in reserve after each stall (``STEP_S`` of page.html).
RESERVE_STEP_MS = 100
#: As old as the stream is when it is opened, and three segments.
HLS_DELAY_P50_MS = 20_000
#: The kernel hands a connection to either worker: so many tries miss one of two once in a million.
MOST_TRIES = 20

#: What the page plays, and how often that asked it to pause.
NOTE_SOURCES = """
  window.sources = [];
  const create = URL.createObjectURL;
  URL.createObjectURL = (source) => {
    const noted = { source, pauses: 0 };
    sources.push(noted);
    source.addEventListener("endstreaming", () => noted.pauses++);
    return create.call(URL, source);
  };
"""
NOTED = "() => sources.map(({ source, pauses }) => [source.constructor.name, source.streaming, pauses])"
WITHOUT_MEDIA_SOURCE = "delete window.MediaSource; delete window.ManagedMediaSource;"
VIDEO = "<video muted autoplay playsinline width=320 height=180></video>"


def _slot_of_player(edge: HttpEdge) -> str:
    (slot,) = wait_until(edge.slots_with_players, "the player to be counted")
    return slot


def _go_to_worker(page: WebKitPage, edge: HttpEdge, name: str, slot: str) -> None:
    """Until it is this worker that serves the page's stream."""
    for _ in range(MOST_TRIES):
        page.goto("about:blank")
        wait_until(lambda: not edge.slots_with_players(), "the player before to be gone")
        page.goto(edge.page_url(name))
        wait_live(page)
        if _slot_of_player(edge) == slot:
            return
    raise AssertionError(f"in {MOST_TRIES} tries worker {slot} was never given a connection")


def _wait_playing(page: WebKitPage) -> None:
    wait_live(page)
    wait_moving(page)
    assert "H.264 (avc1." in page.text("video-codec")
    assert "AAC (mp4a.40.2)" in page.text("audio-codec")


def _assert_steady(watch: Watch, page: WebKitPage) -> None:
    """It plays near the newest picture, without a stall, in the right colours."""
    watch(page, SETTLE_S)
    seen = watch(page, WATCH_S)
    print(seen)
    seen.assert_moves(WATCH_S)
    assert seen.stalls == []
    assert seen.delay_p50_ms < DELAY_P50_MS + RESERVE_STEP_MS * len(seen.excused)


def _wait_beyond_first_picture(page: WebKitPage) -> None:
    """Half a second later there is another picture, as late as the one before."""
    page.wait_for_function("""async () => {
      const video = document.querySelector("video");
      const first = clockPicture.read(video);
      await new Promise((done) => setTimeout(done, 500));
      const next = clockPicture.read(video);
      return Boolean(first && next) && Math.abs(next.delay_ms - first.delay_ms) < 250;
    }""")


@pytest.mark.parametrize("slot", ["0", pytest.param("1", marks=pytest.mark.in_full)])
def test_it_plays_from_each_worker(
    cluster: Cluster, webkit_page: WebKitPage, publish: StartPublisher, watch: Watch, slot: str
) -> None:
    publish(cluster.near.url("webkit"))
    _go_to_worker(webkit_page, cluster.near, "webkit", slot)
    _wait_playing(webkit_page)
    _assert_steady(watch, webkit_page)


@pytest.mark.in_full
def test_it_plays_from_another_node(
    cluster: Cluster, webkit_page: WebKitPage, publish: StartPublisher, watch: Watch
) -> None:
    publish(cluster.near.url("webkit-far"))
    webkit_page.goto(cluster.far.page_url("webkit-far"))
    _wait_playing(webkit_page)
    _assert_steady(watch, webkit_page)


def test_it_plays_with_what_an_iphone_has_of_media_source(
    cluster: Cluster, webkit_page: WebKitPage, publish: StartPublisher, watch: Watch
) -> None:
    """From iOS 17.1 on that is ``ManagedMediaSource`` alone. It never asks for a pause, as it does where
    much is in the buffer: the page has less than a second there."""
    publish(cluster.near.url("managed"))
    webkit_page.goto_in_frame(cluster.near.page_url("managed"), NOTE_SOURCES + "delete window.MediaSource;")
    _wait_playing(webkit_page)
    assert webkit_page.evaluate(NOTED) == [["ManagedMediaSource", True, 0]]
    _assert_steady(watch, webkit_page)
    assert webkit_page.evaluate(NOTED) == [["ManagedMediaSource", True, 0]]


def test_it_goes_on_after_the_publisher_returns(
    cluster: Cluster, webkit_page: WebKitPage, publish: StartPublisher, watch: Watch
) -> None:
    first = publish(cluster.near.url("webkit-returns"))
    webkit_page.goto(cluster.near.page_url("webkit-returns"))
    wait_live(webkit_page)
    wait_moving(webkit_page)
    first.end()
    wait_words(webkit_page, "Nothing comes from the publisher at present")
    publish(cluster.near.url("webkit-returns"))
    wait_live(webkit_page)
    wait_moving(webkit_page)
    watch(webkit_page, WATCH_S).assert_moves(WATCH_S)


def test_it_goes_on_after_its_worker_is_killed(
    cluster: Cluster, webkit_page: WebKitPage, publish: StartPublisher, watch: Watch
) -> None:
    publish(cluster.far.url("webkit-killed"))
    wait_until(lambda: not cluster.near.slots_with_players(), "players before to be gone")
    webkit_page.goto(cluster.near.page_url("webkit-killed"))
    wait_live(webkit_page)
    wait_moving(webkit_page)
    kill_worker(cluster.near.workers()[int(_slot_of_player(cluster.near))])
    webkit_page.wait_for_function("() => player.connections > 1")
    wait_live(webkit_page)
    wait_moving(webkit_page)
    watch(webkit_page, WATCH_S).assert_moves(WATCH_S)


def test_it_is_silent_until_the_viewer_asks_for_sound(
    cluster: Cluster, webkit_page: WebKitPage, publish: StartPublisher
) -> None:
    """Also when the speed has changed, which makes WebKitGTK forget that it was muted."""
    publish(cluster.near.url("silent-webkit"))
    webkit_page.goto(cluster.near.page_url("silent-webkit"))
    wait_live(webkit_page)
    wait_moving(webkit_page)
    is_silent = "() => video.muted || !video.volume"
    webkit_page.evaluate("() => { video.playbackRate = video.playbackRate + 0.01; }")
    webkit_page.wait_for_function("() => video.currentTime > 3")
    assert webkit_page.evaluate(is_silent)
    assert not webkit_page.evaluate("() => video.paused")
    assert webkit_page.text("mute").strip() == "Unmute"
    webkit_page.evaluate("() => document.getElementById('mute').click()")
    assert not webkit_page.evaluate(is_silent)


def test_it_plays_over_http2(
    secure: HttpEdge, webkit_page: WebKitPage, publish: StartPublisher, watch: Watch
) -> None:
    publish(secure.url("webkit2"))
    webkit_page.goto(f"https://127.0.0.1:{secure.https_port}/live/webkit2")
    _wait_playing(webkit_page)
    navigation = "() => performance.getEntriesByType('navigation')[0].nextHopProtocol"
    assert webkit_page.evaluate(navigation) == "h2"
    wait_until(lambda: secure.metrics().by("kind", "http_players").get("mp4") == 1, "one player by MP4")
    _assert_steady(watch, webkit_page)


@pytest.mark.in_full
@pytest.mark.parametrize("over", ["http", "https"])
def test_its_own_hls_plays_a_young_stream(
    secure: HttpEdge, webkit_page: WebKitPage, publish: StartPublisher, watch: Watch, over: str
) -> None:
    root = (
        f"http://127.0.0.1:{secure.http_port}" if over == "http" else f"https://127.0.0.1:{secure.https_port}"
    )
    webkit_page.goto(f"{root}/")
    publish(secure.url(f"young-{over}"))
    webkit_page.evaluate(
        "([html, url]) => { document.body.innerHTML = html; document.querySelector('video').src = url; }",
        [VIDEO, f"{root}/live/young-{over}.m3u8"],
    )
    _wait_beyond_first_picture(webkit_page)
    seen = watch(webkit_page, WATCH_S)
    print(f"HLS over {over}: {seen}")
    seen.assert_moves(WATCH_S)
    assert seen.delay_p50_ms < HLS_DELAY_P50_MS + seen.excused_s * 1000


@pytest.mark.in_full
def test_the_page_plays_a_young_stream_by_hls_where_there_is_no_media_source(
    cluster: Cluster, webkit_page: WebKitPage, publish: StartPublisher, watch: Watch
) -> None:
    """As on an iPhone before iOS 17.1."""
    webkit_page.goto_in_frame(cluster.near.page_url("young"), WITHOUT_MEDIA_SOURCE)
    publish(cluster.near.url("young"))
    wait_live(webkit_page)
    _wait_beyond_first_picture(webkit_page)
    seen = watch(webkit_page, WATCH_S)
    print(f"native HLS: {seen}")
    seen.assert_moves(WATCH_S)
    assert seen.delay_p50_ms < HLS_DELAY_P50_MS + seen.excused_s * 1000
    assert webkit_page.evaluate("() => player.usesHls")
    assert "H.264 (avc1." in webkit_page.text("video-codec")


@pytest.mark.in_full
@pytest.mark.parametrize("width", [390, 1440])
def test_it_fits(
    cluster: Cluster, webkit_page: WebKitPage, publish: StartPublisher, width: int
) -> None:
    """In a frame: no window of MiniBrowser is as narrow as a phone."""
    publish(cluster.near.url("webkit-looks"))
    webkit_page.goto_in_frame(cluster.near.page_url("webkit-looks"), width=width, height=900)
    wait_live(webkit_page)
    wait_moving(webkit_page)
    webkit_page.wait_for_function("() => /\\d/.test(document.getElementById('bitrate').textContent)")
    webkit_page.screenshot(SHOTS / f"webkit-{width}.png")
    assert webkit_page.evaluate("() => innerWidth") == width
    assert webkit_page.evaluate("() => document.documentElement.scrollWidth") <= width
