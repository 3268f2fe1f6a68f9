"""Where credentials are looked for, and what is said of those that can be read in two ways."""

from __future__ import annotations

import base64
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.edge.admission.credentials import (
    MAX_QUERY_CHARACTERS,
    MAX_QUERY_ITEMS,
    Credentials,
    Query,
    Unclear,
)
from cluster.edge.peers.access import Access


def _of(query: str = "", app_query: str = "", authorization: str = "") -> Credentials:
    return Credentials(
        Access(
            "publish", "live/cam", "192.0.2.1:1", "rtmp", "s", query, app_query, authorization=authorization
        )
    )


def _basic(text: str) -> str:
    return f"Basic {base64.b64encode(text.encode()).decode()}"


@pytest.mark.parametrize(
    ("query", "login"),
    [
        ("user=studio&pass=pw", ("studio", "pw")),
        ("pass=pw&user=studio", ("studio", "pw")),
        ("clientConfigId=x-1&user=studio&pass=pw", ("studio", "pw")),
        ("user=studio&pass=pw&clientConfigId=x-1", ("studio", "pw")),
        ("user=stud%69o&pass=p%26%3Dw%25", ("studio", "p&=w%")),
        ("us%65r=studio&pass=pw", ("studio", "pw")),
        ("user=studio&pass=a+b", ("studio", "a+b")),
        ("user=studio&pass=a=b==", ("studio", "a=b==")),
        ("user=studio&pass=%zz%", ("studio", "%zz%")),
        ("user=studio&pass=", ("studio", "")),
        ("user=studio&user=studio&pass=pw", ("studio", "pw")),
        ("user=studio", None),
        ("pass=pw", None),
        ("user&pass", None),
        ("USER=studio&pass=pw", None),
        ("", None),
    ],
)
def test_a_login_in_a_query(query: str, login: tuple[str, str] | None) -> None:
    assert _of(query).login() == login
    assert _of(app_query=query).login() == login


def test_what_is_not_utf8_stays_told_apart() -> None:
    one, other = (_of(f"user=u&pass=%{byte}").login() for byte in ("ff", "fe"))
    assert one != other


@pytest.mark.parametrize("name", ["user", "pass"])
def test_an_item_with_two_values_is_refused_when_it_is_asked_for(name: str) -> None:
    credentials = _of(f"user=a&pass=b&{name}=c&token=t")
    assert credentials.token() == "t"
    with pytest.raises(Unclear, match=f"^{name}= stands twice in the query$"):
        credentials.login()


def test_two_places_are_not_two_values() -> None:
    """A login is taken whole from the first place that has one."""
    assert _of("user=a&pass=b", "user=c&pass=d").login() == ("a", "b")
    assert _of("token=t", "user=c&pass=d", _basic("e:f")).login() == ("c", "d")
    assert _of("user=a", "user=c&pass=d").login() == ("c", "d")
    assert _of("", "authmod=adobe&user=U&response=R", _basic("e:f")).login() == ("e", "f")


@pytest.mark.parametrize(
    ("authorization", "login", "token"),
    [
        (_basic("studio:p:w"), ("studio", "p:w"), ""),
        (_basic("studio:"), ("studio", ""), ""),
        (_basic("studio"), None, ""),
        (_basic("stüdio:pw").replace("Basic", "bAsIc"), ("stüdio", "pw"), ""),
        ("Bearer a.b.c", None, "a.b.c"),
        ("bearer   a.b.c ", None, "a.b.c"),
        ("Digest a", None, ""),
        ("Basic", None, ""),
        ("", None, ""),
    ],
)
def test_authorization(authorization: str, login: tuple[str, str] | None, token: str) -> None:
    assert _of(authorization=authorization).login() == login
    assert _of(authorization=authorization).token() == token


def test_basic_that_is_no_base64_is_refused() -> None:
    with pytest.raises(Unclear, match="not base64"):
        _of(authorization="Basic !").login()


def test_a_token_may_have_two_names_and_three_places() -> None:
    assert _of("jwt=b&token=a", "token=c", "Bearer d").token() == "a"
    assert _of("jwt=b", "token=c", "Bearer d").token() == "b"
    assert _of("", "token=c", "Bearer d").token() == "c"


def test_the_key_of_the_server_may_be_called_many_things() -> None:
    credentials = _of("key=a&pass=b", "token=c&jwt=d", _basic("u:e"))
    assert credentials.secrets() == ["a", "b", "c", "d", "e"]
    assert _of(authorization="Bearer f").secrets() == ["f"]


def test_a_query_has_a_bound() -> None:
    assert _of("a" * MAX_QUERY_CHARACTERS).login() is None
    with pytest.raises(Unclear, match=r"longer than 8192 characters"):
        _of("a" * (MAX_QUERY_CHARACTERS + 1))


def test_a_query_has_so_many_items_at_most() -> None:
    """Thousands take ten milliseconds to read, and a viewer may ask a hundred times a second."""
    items = ["%1=%2"] * (MAX_QUERY_ITEMS - 2)
    assert _of("&".join([*items, "user=a", "pass=b"])).login() == ("a", "b")
    with pytest.raises(Unclear, match=r"more than 64 items"):
        _of("&".join([*items, "user=a", "pass=b", ""]))


@given(st.text())
def test_any_text_is_a_query(text: str) -> None:
    query = Query(text[:MAX_QUERY_ITEMS])  # no more items than that
    for name in ("user", "", text):
        try:
            query.get(name)
        except Unclear:
            assert name in query


_NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=6)


@given(
    st.dictionaries(_NAMES, st.text(st.characters(exclude_categories=["Cs"]), max_size=9), max_size=32),
    st.randoms(),
)
def test_whatever_is_escaped_comes_back_in_any_order(items: dict[str, str], random: object) -> None:
    pairs = [f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in items.items()]
    random.shuffle(pairs)  # type: ignore[attr-defined]
    query = Query("&".join(pairs))
    assert {name: query.get(name) for name in items} == items
