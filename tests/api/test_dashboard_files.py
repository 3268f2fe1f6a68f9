"""The dashboard's files: small, of this project alone, and served so that nothing else runs beside them."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from importlib import resources
from pathlib import Path

import pytest
from aiohttp import ClientSession, web

from cluster.api import dashboard
from cluster.api.answering import Answering
from cluster.api.guard import Tokens

ROOT = Path(__file__).parents[2]
WEB = ROOT / "cluster" / "api" / "web"
FILES = {path.name: path.read_text() for path in sorted(WEB.iterdir())}
SCRIPTS = {name: text for name, text in FILES.items() if name.endswith(".js")}
PAGE = FILES["dashboard.html"]
MAX_BYTES = 100_000


def test_it_is_small() -> None:
    assert sum(len(text.encode()) for text in FILES.values()) < MAX_BYTES


def test_a_package_has_the_files() -> None:
    assert {each.name for each in resources.files("cluster.api").joinpath("web").iterdir()} == set(FILES)
    assert '"cluster.api" = ["web/*"]' in (ROOT / "pyproject.toml").read_text()


def test_it_is_made_of_its_own_files_alone() -> None:
    for name, text in FILES.items():
        assert set(re.findall(r"https?://[\w.]+", text)) <= {"http://www.w3.org"}, name
        for found in re.findall(r'from "([^"]+)"', text) if name in SCRIPTS else ():
            assert found.removeprefix("./") in SCRIPTS, (name, found)
    named = re.findall(r'(?:src|href)="(/[^"]*)"', PAGE)
    assert {each.removeprefix("/dashboard/") for each in named} == {"dashboard.css", "main.js"}


def test_its_policy_lets_no_text_become_markup_or_script() -> None:
    for name, text in SCRIPTS.items():
        for way in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "DOMParser"):
            assert way not in text, name
    assert not re.findall(r"<script(?![^>]*\bsrc=)|<style|\bstyle=|\bon[a-z]+=", PAGE)


def test_every_element_that_its_scripts_name_is_there() -> None:
    named = {each for text in SCRIPTS.values() for each in re.findall(r'\$\("([\w-]+)"\)', text)}
    assert len(named) > 30
    assert named <= set(re.findall(r'\bid="([\w-]+)"', PAGE))


def test_boxes_are_read_as_by_the_page_that_plays() -> None:
    page = (ROOT / "cluster" / "edge" / "http" / "page.html").read_text()
    begins, ends = page.index("// ---- Boxes of an MP4"), page.index("// ---- The buffer of the browser")
    assert page[begins:ends].strip() in SCRIPTS["boxes.js"]


@asynccontextmanager
async def _serving(tokens: Tokens) -> AsyncIterator[str]:
    answering = Answering(None, tokens)  # type: ignore[arg-type]
    application = web.Application(middlewares=[answering.around])
    dashboard.add_routes(application.router)
    answering.add_routes(application.router)
    runner = web.AppRunner(application, handle_signals=False)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def _statuses(tokens: Tokens, asked: list[tuple[str, dict[str, str]]]) -> Iterator[tuple[int, str, str]]:
    async def ask() -> list[tuple[int, str, str]]:
        async with _serving(tokens) as url, ClientSession() as session:
            said = []
            for path, headers in asked:
                async with session.get(url + path, headers=headers) as answer:
                    policy = answer.headers.get("Content-Security-Policy", "")
                    said.append((answer.status, answer.content_type, policy))
            return said

    yield from asyncio.run(ask())


@pytest.mark.parametrize("tokens", [Tokens(), Tokens(admin=["a-token-that-may-do-all"])])
def test_it_is_served_to_who_has_no_token_yet(tokens: Tokens) -> None:
    paths = ["/", *(f"/dashboard/{name}" for name in FILES if name != "dashboard.html")]
    kinds = {".js": "text/javascript", ".css": "text/css", "": "text/html"}
    said = _statuses(tokens, [(path, {}) for path in paths])
    for path, (status, kind, policy) in zip(paths, said, strict=True):
        assert (status, kind) == (200, kinds[Path(path).suffix]), path
        assert {"default-src 'none'", "script-src 'self'"} <= set(policy.split("; ")), path
        assert "unsafe" not in policy


def test_no_more_is_served_than_that() -> None:
    tokens = Tokens(admin=["a-token-that-may-do-all"])
    paths = ["/dashboard/dashboard.html", "/dashboard/..%2fserver.py", "/dashboard/", "/v1/nodes"]
    assert [each[0] for each in _statuses(tokens, [(path, {}) for path in paths])] == [404, 404, 404, 401]


def test_without_tokens_it_is_for_this_host_alone() -> None:
    [said] = _statuses(Tokens(), [("/", {"Host": "attacker.example"})])
    assert said[0] == 403
