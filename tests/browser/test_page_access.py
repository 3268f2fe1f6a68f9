"""The page plays with what stands behind its address, and says in words when that lets nobody in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from browser_cluster import HttpEdge, OpenPage, StartPublisher
from playwright.sync_api import Page
from watching import wait_live, wait_moving, wait_words

from cluster.edge.admission.signed import Signing

SECRET = "0123456789abcdef0123456789abcdef"
EXPIRES = 4_000_000_000
RULES = f"""\
[[rule]]
match = "live/login"
play = {{ users = ["ann"] }}
[[rule]]
match = "live/signed"
play = {{ signed = true }}
[users.ann]
password = "p&ss"
[signing]
secrets = ["{SECRET}"]
"""
LINK = Signing((SECRET,)).query("play", "live/signed", EXPIRES)


@pytest.fixture
def edge(tmp_path: Path) -> Iterator[HttpEdge]:
    config = tmp_path / "edge.toml"
    config.write_text(RULES)
    edge = HttpEdge(["--config", str(config), "--workers", "2"], tmp_path / "edge.log")
    try:
        edge.wait_ready()
        yield edge
        assert edge.stop() == 0
    finally:
        edge.kill()


def _typed(password: str) -> dict[str, dict[str, str]]:
    """What the viewer types when the browser asks for it."""
    return {"http_credentials": {"username": "ann", "password": password}}


def _check_refused(page: Page, words: str, console: list[str], status: int) -> None:
    wait_words(page, words)
    page.context.close()
    assert all(f"status of {status}" in each for each in console), console
    console.clear()


def test_it_plays_with_a_password_and_says_that_it_needs_one(
    edge: HttpEdge, open_page: OpenPage, publish: StartPublisher, console: list[str]
) -> None:
    publish(edge.url("login"))
    url = edge.page_url("login")
    for page in (open_page(f"{url}?user=ann&pass=p%26ss"), open_page(url, **_typed("p&ss"))):
        wait_live(page)
        wait_moving(page)
        page.context.close()
    console.clear()  # of the answer that made the browser ask
    for query in ("?user=ann&pass=no", ""):
        page = open_page(url + query, **_typed("no"))
        _check_refused(page, "asks for a password or token", console, 401)


def test_it_plays_a_signed_address_and_says_that_nothing_else_is_let_in(
    edge: HttpEdge, open_page: OpenPage, publish: StartPublisher, console: list[str]
) -> None:
    publish(edge.url("signed"))
    page = open_page(f"{edge.page_url('signed')}?{LINK}")
    wait_live(page)
    wait_moving(page)
    page.context.close()
    assert console == []
    for query in (f"?exp={EXPIRES}&sig=no", ""):
        page = open_page(edge.page_url("signed") + query)
        _check_refused(page, "does not let you see this stream", console, 403)
