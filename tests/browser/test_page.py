"""The page plays what is published, on every worker of every node, and goes on when something breaks."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from browser_cluster import Cluster, HttpEdge, OpenPage, StartPublisher
from playwright.sync_api import Page, expect
from watching import Watch, wait_live, wait_moving, wait_words

from support.cluster_process import kill_worker
from support.polling import wait_until

WATCH_S = 6.0
#: At first it catches up with the newest picture, and finds out how uneven the stream is.
SETTLE_S = 5.0
DELAY_P50_MS = 500
#: Three segments, and one that is not whole.
NATIVE_DELAY_P50_MS = 10_000
#: The page keeps so much more in reserve after each stall (``STEP_S`` of page.html).
RESERVE_STEP_MS = 100
#: The kernel hands a connection to either worker: so many tries miss one of two once in a million.
MOST_TRIES = 20


def _open_on(cluster: Cluster, open_page: OpenPage, name: str, place: str) -> Page:
    """The page of the stream, served by the worker (slot) of the near node, or by the far node."""
    edge = cluster.far if place == "far" else cluster.near
    for _ in range(MOST_TRIES):
        wait_until(lambda: not edge.slots_with_players(), "the player before to be gone")
        page = open_page(edge.page_url(name))
        wait_live(page)
        if place == "far" or _slot_of_player(edge) == int(place):
            return page
        page.context.close()
    raise AssertionError(f"in {MOST_TRIES} tries worker {place} was never given a connection")


def _slot_of_player(edge: HttpEdge) -> int:
    """The worker that serves the only player."""
    (slot,) = wait_until(edge.slots_with_players, "the player to be counted")
    return int(slot)


@pytest.mark.parametrize("place", ["0", pytest.param("1", marks=pytest.mark.in_full), "far"])
def test_it_plays_from_each_worker_and_from_another_node(
    cluster: Cluster, open_page: OpenPage, publish: StartPublisher, watch: Watch, place: str
) -> None:
    publish(cluster.near.url("everywhere"))
    page = _open_on(cluster, open_page, "everywhere", place)
    wait_moving(page)
    watch(page, SETTLE_S)
    seen = watch(page, WATCH_S)
    print(f"{place}: {seen}")
    seen.assert_moves(WATCH_S)
    assert seen.delay_p50_ms < DELAY_P50_MS + RESERVE_STEP_MS * len(seen.excused)
    assert seen.stalls == []
    expect(page.locator("#video-codec")).to_contain_text("H.264 (avc1.")
    expect(page.locator("#audio-codec")).to_contain_text("AAC (mp4a.40.2)")
    expect(page.locator("#picture")).to_contain_text("320 × 180")
    expect(page.locator("#delay")).to_contain_text(re.compile(r"^\d+ ms$"))
    expect(page.locator("#bitrate")).to_contain_text(re.compile(r"^[1-9].* [kM]bit/s$"))


def test_it_goes_on_after_the_publisher_returns(
    cluster: Cluster, open_page: OpenPage, publish: StartPublisher, watch: Watch
) -> None:
    first = publish(cluster.near.url("returns"))
    page = open_page(cluster.near.page_url("returns"))
    wait_live(page)
    first.end()
    wait_words(page, "Nothing comes from the publisher at present")
    publish(cluster.near.url("returns"))
    wait_live(page)
    wait_moving(page)
    watch(page, WATCH_S).assert_moves(WATCH_S)


def test_it_goes_on_after_its_worker_is_killed(
    cluster: Cluster, open_page: OpenPage, publish: StartPublisher, watch: Watch
) -> None:
    """The publisher is on the other node: its connection has nothing to do with that worker."""
    publish(cluster.far.url("killed"))
    wait_until(lambda: not cluster.near.slots_with_players(), "players before to be gone")
    page = open_page(cluster.near.page_url("killed"))
    wait_live(page)
    kill_worker(cluster.near.workers()[_slot_of_player(cluster.near)])
    page.wait_for_function("() => player.connections > 1")
    wait_live(page)
    wait_moving(page)
    watch(page, WATCH_S).assert_moves(WATCH_S)


@pytest.mark.parametrize("video", ["vp9", pytest.param("av1", marks=pytest.mark.in_full)])
def test_it_goes_on_after_the_codec_changes(
    cluster: Cluster, open_page: OpenPage, publish: StartPublisher, watch: Watch, video: str
) -> None:
    name = f"changes-{video}"
    first = publish(cluster.near.url(name))
    page = open_page(cluster.near.page_url(name))
    wait_live(page)
    connections = page.evaluate("player.connections")
    first.end()
    publish(cluster.near.url(name), video=video)
    expect(page.locator("#video-codec")).to_contain_text(video.upper(), timeout=30_000)
    wait_live(page)
    wait_moving(page)
    watch(page, WATCH_S).assert_moves(WATCH_S)
    assert page.evaluate("player.connections") == connections, "it should not have had to connect anew"


def test_it_goes_on_when_audio_is_no_longer_there(
    cluster: Cluster, open_page: OpenPage, publish: StartPublisher, watch: Watch
) -> None:
    first = publish(cluster.near.url("silent"))
    page = open_page(cluster.near.page_url("silent"))
    wait_live(page)
    first.end()
    wait_words(page, "Nothing comes")
    publish(cluster.near.url("silent"), audio="none")
    wait_live(page)
    wait_moving(page)
    watch(page, WATCH_S).assert_moves(WATCH_S)


def test_it_says_that_nobody_publishes_and_plays_as_soon_as_somebody_does(
    cluster: Cluster, open_page: OpenPage, publish: StartPublisher
) -> None:
    page = open_page(cluster.near.page_url("nobody"))
    wait_words(page, "Nobody publishes live/nobody")
    publish(cluster.near.url("nobody"))
    wait_live(page)
    wait_moving(page)


@pytest.mark.in_full
def test_it_says_what_the_browser_cannot_play(
    cluster: Cluster, open_page: OpenPage, publish: StartPublisher
) -> None:
    publish(cluster.near.url("hevc"), video="hevc")
    page = open_page(cluster.near.page_url("hevc"))
    wait_words(page, "This browser cannot play HEVC (hvc1.")


@pytest.mark.in_full
def test_it_shows_the_picture_without_the_sound_that_the_browser_cannot_play(
    cluster: Cluster, open_page: OpenPage, publish: StartPublisher, watch: Watch
) -> None:
    publish(cluster.near.url("ac3"), audio="ac3")
    page = open_page(cluster.near.page_url("ac3"))
    wait_live(page)
    watch(page, WATCH_S).assert_moves(WATCH_S)
    expect(page.locator("#audio-codec")).to_contain_text("AC-3: not played")


@pytest.mark.in_full
def test_it_says_that_the_server_cannot_be_reached_and_goes_on_when_it_can(
    open_page: OpenPage, publish: StartPublisher, tmp_path: Path, console: list[str]
) -> None:
    edges = [HttpEdge(["--workers", "1"], tmp_path / "first.log")]
    try:
        edges[0].wait_ready()
        port = edges[0].http_port
        publisher = publish(edges[0].url("gone"))
        page = open_page(edges[0].page_url("gone"))
        wait_live(page)
        publisher.end()
        assert edges[0].stop() == 0
        wait_words(page, "The server cannot be reached")
        edges.append(HttpEdge(["--workers", "1"], tmp_path / "second.log", port))
        edges[1].wait_ready()
        publish(edges[1].url("gone"))
        wait_live(page)
        wait_moving(page)
    finally:
        for edge in edges:
            edge.kill()
    console[:] = [line for line in console if "ERR_CONNECTION" not in line and "503" not in line]


@pytest.mark.in_full
def test_its_keys_and_buttons_work(
    cluster: Cluster, open_page: OpenPage, publish: StartPublisher, watch: Watch
) -> None:
    publish(cluster.near.url("keys"))
    page = open_page(cluster.near.page_url("keys"))
    wait_live(page)
    assert page.evaluate("video.muted")
    page.get_by_role("button", name="Unmute").click()
    assert not page.evaluate("video.muted")
    page.keyboard.press("m")
    assert page.evaluate("video.muted")
    page.get_by_role("button", name="Pause").click()
    expect(page.locator("#state")).to_have_text("Paused")
    page.get_by_role("button", name="Play", exact=True).press("Enter")
    wait_live(page)
    wait_moving(page)
    watch(page, 3).assert_moves(3)


def test_it_plays_hls_where_there_is_no_media_source(
    cluster: Cluster, open_page: OpenPage, publish: StartPublisher, watch: Watch
) -> None:
    """As an iPhone of before iOS 17 does. Chromium's own HLS begins three segments behind the newest, and
    breaks off where there are fewer, so the page waits until there are."""
    publish(cluster.near.url("native"))
    page = open_page(
        cluster.near.page_url("native"), "delete window.MediaSource; delete window.ManagedMediaSource;"
    )
    wait_live(page)
    watch(page, 2)
    seen = watch(page, 3 * WATCH_S)
    print(f"native HLS: {seen}")
    seen.assert_moves(3 * WATCH_S)
    assert seen.stalls == []
    assert seen.delay_p50_ms < NATIVE_DELAY_P50_MS + seen.excused_s * 1000
    expect(page.locator("#video-codec")).to_contain_text("H.264 (avc1.")


def test_the_page_without_a_stream_asks_for_one(cluster: Cluster, open_page: OpenPage) -> None:
    page = open_page(f"http://127.0.0.1:{cluster.near.http_port}/")
    page.get_by_label("Name of the stream").fill("live/one two")
    page.get_by_label("Name of the stream").press("Enter")
    page.wait_for_url("**/live/one%20two")
    expect(page.get_by_role("heading", level=1)).to_have_text("live/one two")
