"""Debian's browsers, two nodes at one router, and publishers of a picture that tells its age."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import clock_picture
import pytest
from browser_cluster import (
    BROWSER_PLAYERS,
    Cluster,
    HttpEdge,
    OpenPage,
    Publisher,
    StartPublisher,
    chromium,
)
from standstill import Standstills
from watching import PATIENCE_S, SHOTS, Watch, Watched, watch_with
from webkit import WebKit, WebKitPage, mini_browser

from support.cluster_process import ClusterProcess, free_router_address
from support.tls import make_certificate

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page

#: ``make browsers`` installs it; every other run has no use for it.
collect_ignore_glob = [] if find_spec("playwright") else ["test_*.py"]

#: Without what it asks its maker's hosts for, and without what a container has not.
_ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip

#: mpegts.js warns where the headers of a stream are sent twice, as by a worker that has just joined it, and
#: where it leaves out the few milliseconds for which there is audio alone at the beginning.
_HARMLESS = (
    "Found another onMetaData tag!",
    "[StartupStallJumper] > Playback seems stuck at 0, seek to 0.0",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    directory = tmp_path_factory.mktemp("cluster")
    address = free_router_address()
    router = ClusterProcess(["router", "--bind", address], directory / "router.log")
    started: list[ClusterProcess] = [router]
    try:
        router.wait_ready()
        near, far = (
            HttpEdge(
                ["--router", address, "--node-name", name, "--workers", workers], directory / f"{name}.log"
            )
            for name, workers in (("near", "2"), ("far", "1"))
        )
        started += [near, far]
        for edge in (near, far):
            edge.wait_ready()
        yield Cluster(near, far)
        for process in reversed(started):
            assert process.stop() == 0, process.log_text()
            assert "Traceback" not in process.log_text(), process.log_text()
    finally:
        for process in started:
            process.kill()


@pytest.fixture(scope="session")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HttpEdge]:
    """A node of two workers that also speaks TLS, with a certificate of its own."""
    directory = tmp_path_factory.mktemp("secure")
    tls = ["--http-tls", "127.0.0.1:0", *make_certificate(directory).options]
    edge = HttpEdge(["--workers", "2", *tls], directory / "edge.log")
    try:
        edge.wait_ready()
        yield edge
        assert edge.stop() == 0, edge.log_text()
        assert "Traceback" not in edge.log_text(), edge.log_text()
    finally:
        edge.kill()


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=PATIENCE_S * 1000)
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=chromium(), args=_ARGUMENTS)
        yield opened
        opened.close()


@pytest.fixture(scope="session")
def standstills() -> Iterator[Standstills]:
    """When this machine let a program wait; begun before all that it looks at."""
    begun = Standstills()
    yield begun
    begun.close()


@pytest.fixture
def watch(standstills: Standstills) -> Watch:
    """Watches a page's video."""

    def watch_(page: Page, seconds: float) -> Watched:
        return watch_with(standstills, page, seconds)

    return watch_


@pytest.fixture
def console() -> list[str]:
    """What the browser's console has complained of; a test takes out what it expects."""
    return []


@pytest.fixture
def open_page(browser: Browser, console: list[str]) -> Iterator[OpenPage]:
    contexts: list[BrowserContext] = []

    def noted(message: ConsoleMessage) -> None:
        is_harmless = any(each in message.text for each in _HARMLESS)
        if message.type in ("error", "warning") and not is_harmless:
            console.append(f"{message.type}: {message.text}")

    def open_(url: str, script: str = "", **options: object) -> Page:
        context = browser.new_context(**{"viewport": {"width": 800, "height": 600}, **options})
        contexts.append(context)
        if script:
            context.add_init_script(script)
        context.add_init_script(clock_picture.script())
        context.set_default_timeout(PATIENCE_S * 1000)
        page = context.new_page()
        page.on("console", noted)
        page.on("pageerror", lambda error: console.append(f"uncaught: {error}"))
        page.goto(url)
        return page

    yield open_
    for context in contexts:
        context.close()
    assert console == []


@pytest.fixture
def webkit_page(tmp_path: Path) -> Iterator[WebKitPage]:
    """The window of a WebKitGTK of its own."""
    webkit = WebKit(tmp_path)
    yield WebKitPage(webkit)
    webkit.close()


@pytest.fixture
def publish() -> Iterator[StartPublisher]:
    """Starts a publisher of the clock's picture; it ends with the test, if not before."""
    started: list[Publisher] = []

    def start(url: str, **options: str) -> Publisher:
        started.append(Publisher(url, options))
        return started[-1]

    yield start
    for publisher in started:
        publisher.end()


@pytest.fixture(scope="session")
def browser_players() -> Path:
    """The directory with hls.js and mpegts.js in it, as ``tools/peers.sh browser-players`` leaves it."""
    assert BROWSER_PLAYERS.is_dir(), "hls.js and mpegts.js are missing: sh tools/peers.sh browser-players"
    return BROWSER_PLAYERS


@pytest.fixture(scope="session")
def axe() -> str:
    """axe-core, as a script."""
    path = BROWSER_PLAYERS / "axe-core" / "axe.min.js"
    assert path.is_file(), "axe-core is missing: sh tools/peers.sh browser-players"
    return path.read_text()


@pytest.fixture(scope="session", autouse=True)
def _shots() -> None:
    SHOTS.mkdir(parents=True, exist_ok=True)


def pytest_report_header() -> str:
    return f"screenshots: {SHOTS}; browsers: {_version([chromium(), '--version'])}, {mini_browser()}"


def _version(command: list[str]) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=30).stdout.strip()
    except OSError:
        return "none"
