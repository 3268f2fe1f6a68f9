"""Who may ask the API: by token, or without tokens from this host alone."""

from __future__ import annotations

import base64
from dataclasses import replace
from pathlib import Path

import pytest

from cluster.api.guard import Asker, Denied, Tokens, check, read_tokens
from cluster.core.errors import EnvironmentFault

ADMIN, OLD, READ = "admin-admin-admin-1", "admin-admin-admin-0", "read-read-read-read"
TOKENS = Tokens(admin=[ADMIN, OLD], read=[READ])
HERE = Asker("127.0.0.1", "localhost:9997", None, "")
THERE = Asker("192.0.2.7", "edge.example.org:9997", None, "")


def denied(tokens: Tokens, asker: Asker, *, is_order: bool = False) -> int:
    """The status, 0 if it is let in."""
    try:
        check(tokens, asker, is_order=is_order)
    except Denied as error:
        return error.status
    return 0


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "::ffff:127.0.0.1", "127.8.9.1"])
@pytest.mark.parametrize("host", ["localhost", "localhost:9997", "127.0.0.1:9997", "[::1]:9997"])
def test_without_tokens_this_host_may_do_all(address: str, host: str) -> None:
    assert denied(Tokens(), replace(HERE, address=address, host=host), is_order=True) == 0


@pytest.mark.parametrize("address", ["192.0.2.7", "::ffff:192.0.2.7", "2001:db8::1", "", "nobody"])
def test_without_tokens_no_other_host_may(address: str) -> None:
    assert denied(Tokens(), replace(HERE, address=address)) == 403


@pytest.mark.parametrize(
    "host",
    ["", "evil.example.org", "localhost.evil.org", "192.0.2.1:9997", "[::2]", "[::1", "a[b]", "localhost]"],
)
def test_without_tokens_a_name_that_leads_here_is_not_enough(host: str) -> None:
    assert denied(Tokens(), replace(HERE, host=host)) == 403


@pytest.mark.parametrize(
    ("origin", "status"),
    [("http://localhost:9997", 0), ("http://localhost", 403), ("https://evil.org", 403), ("null", 403),
     ("http://[::1", 403), ("http://a[b]", 403)],
)
@pytest.mark.parametrize("authorization", ["", f"Bearer {ADMIN}"])
def test_a_page_of_another_site_may_not_ask(origin: str, status: int, authorization: str) -> None:
    tokens = TOKENS if authorization else Tokens()
    asker = replace(HERE, origin=origin, authorization=authorization)
    assert denied(tokens, asker) == status


@pytest.mark.parametrize(
    ("authorization", "look", "order"),
    [
        (f"Bearer {ADMIN}", 0, 0), (f"bearer  {OLD}", 0, 0), (f"Bearer {READ}", 0, 403),
        ("Basic " + base64.b64encode(f"me:{ADMIN}".encode()).decode(), 0, 0),
        ("Basic " + base64.b64encode(f"{ADMIN}".encode()).decode(), 401, 401),
        ("Basic %", 401, 401), ("", 401, 401), ("Bearer", 401, 401), (f"Bearer {ADMIN[:-1]}", 401, 401),
        (f"Bearer {ADMIN}1", 401, 401), (ADMIN, 401, 401), (f"Digest {ADMIN}", 401, 401),
        ("Bearer \xe9", 401, 401), ("Bearer \udcff", 401, 401),
    ],
)  # fmt: skip
def test_with_tokens_one_is_wanted_from_anywhere(authorization: str, look: int, order: int) -> None:
    for asker in (HERE, THERE):
        shown = replace(asker, authorization=authorization)
        assert (denied(TOKENS, shown), denied(TOKENS, shown, is_order=True)) == (look, order)


def test_with_a_token_to_look_alone_nobody_gives_orders() -> None:
    assert denied(Tokens(read=[READ]), replace(HERE, authorization=f"Bearer {READ}"), is_order=True) == 403


def test_tokens_are_in_no_repr() -> None:
    assert ADMIN not in repr(TOKENS)


def test_a_file_of_tokens(tmp_path: Path) -> None:
    path = tmp_path / "tokens"
    path.write_text(f"# old and new\n{ADMIN}\n\n  {OLD}\r\n")
    assert read_tokens(path) == [ADMIN, OLD]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "there is no token"), ("# none\n", "there is no token"), ("short", "16 characters"),
        ("a" * 20 + " " + "b", "no blank"), ("é" * 20, "ASCII"),
    ],
)
def test_a_file_without_a_good_token_is_refused_without_showing_it(
    tmp_path: Path, text: str, why: str
) -> None:
    path = tmp_path / "tokens"
    path.write_text(text)
    with pytest.raises(EnvironmentFault, match=why) as refused:
        read_tokens(path)
    assert not text or text.startswith("#") or text not in str(refused.value)
    path.unlink()
    with pytest.raises(EnvironmentFault, match="No such file"):
        read_tokens(path)
