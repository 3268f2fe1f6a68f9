"""The page stands alone: one small file that fetches nothing but the stream."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "cluster" / "edge" / "http" / "page.html").read_text()
MAX_BYTES = 40_000


def test_it_is_small() -> None:
    assert len(PAGE.encode()) < MAX_BYTES


def test_it_fetches_nothing_of_others() -> None:
    """Neither a script nor a style, picture or font: it works where only the server is reached."""
    assert not re.findall(r"<(?:script|img|iframe)\b[^>]*\bsrc=", PAGE)
    assert not re.findall(r"@import|url\((?!['\"]?data:)", PAGE)
    assert all(found.startswith("data:") for found in re.findall(r'<link\b[^>]*\bhref="([^"]*)', PAGE))
    assert set(re.findall(r"https?://[\w.]+", PAGE)) == {"http://www.w3.org"}


def test_every_element_that_its_script_names_is_there() -> None:
    named = set(re.findall(r'\$\("([\w-]+)"\)', PAGE))
    assert named <= set(re.findall(r'\bid="([\w-]+)"', PAGE))
    assert named


def test_what_is_pressed_or_typed_into_has_a_name() -> None:
    """For those who hear the page."""
    for button in re.findall(r"<button\b.*?</button>", PAGE, re.DOTALL):
        assert re.sub(r"<svg.*?</svg>|<[^>]+>", "", button, flags=re.DOTALL).strip(), button
    for field in re.findall(r"<(?:input|video)\b[^>]*>", PAGE):
        assert "aria-label=" in field, field
