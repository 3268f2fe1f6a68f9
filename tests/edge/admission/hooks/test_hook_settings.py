"""The table [hooks]: what is taken from it, and what is said of what is wrong; never a secret."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from cluster.edge.admission.hooks.settings import Dialect, HookSettings, parse_hooks
from cluster.edge.admission.interfaces import PolicyFaults

KEY = bytes(range(32))
SECRET = "whsec_" + base64.b64encode(KEY).decode()


def test_a_table_in_full() -> None:
    table = {
        "publish": "https://app.example/hook?token=a", "play": "http://[::1]:8080/play",
        "dialect": "rtmp-cluster", "timeout": 2, "secret": SECRET,
        "events": "https://app.example/events", "events_secret": [SECRET, SECRET],
    }  # fmt: skip
    assert parse_hooks(table) == HookSettings(
        publish="https://app.example/hook?token=a", play="http://[::1]:8080/play", dialect=Dialect.OURS,
        timeout_s=2.0, secrets=(KEY,), events="https://app.example/events", events_secrets=(KEY, KEY),
    )  # fmt: skip


def test_an_empty_table_asks_and_tells_nobody() -> None:
    assert parse_hooks({}) == HookSettings()


def test_lines_of_a_file_are_several_secrets() -> None:
    settings = parse_hooks({"events": "http://a/", "events_secret": f"{SECRET}\n{SECRET}\n"})
    assert settings.events_secrets == (KEY, KEY)


@pytest.mark.parametrize(
    ("table", "key", "said"),
    [
        ({"publish": 5}, "publish", "text in quotes"),
        ({"publish": "ftp://MARK/"}, "publish", "an address such as"),
        ({"publish": "https:///MARK"}, "publish", "an address such as"),
        ({"publish": "https://a:99999/MARK"}, "publish", "an address such as"),
        ({"publish": "https://a/MARK b"}, "publish", "an address such as"),
        ({"publish": "https://a/\r\nMARK"}, "publish", "an address such as"),
        ({"play": "https://a/#MARK"}, "play", "no #fragment"),
        ({"events": "MARK"}, "events", "an address such as"),
        ({"dialect": "MARK"}, "dialect", "rtmp-cluster, nginx-rtmp, srs, mediamtx"),
        ({"dialect": ["srs"]}, "dialect", "must be one of"),
        ({"timeout": 0.09}, "timeout", "from 0.1 to 60"),
        ({"timeout": 60.1}, "timeout", "from 0.1 to 60"),
        ({"timeout": True}, "timeout", "a number of seconds"),
        ({"timeout": float("nan")}, "timeout", "from 0.1 to 60"),
        ({"publish": "http://a/", "secret": "MARK"}, "secret", "whsec_"),
        ({"publish": "http://a/", "secret": "whsec_MARK!"}, "secret", "no base64"),
        ({"publish": "http://a/", "secret": "whsec_MARK"}, "secret", "3 bytes"),
        ({"publish": "http://a/", "secret": 5}, "secret", "text in quotes"),
        ({"publish": "http://a/", "secret": " "}, "secret", "is empty"),
        ({"secret": SECRET}, "secret", "nothing to sign"),
        ({"events_secret": SECRET}, "events_secret", "nothing to sign"),
        ({"publish": "http://a/", "dialect": "srs", "secret": SECRET}, "secret", "are signed"),
        ({"publsh": "http://MARK/"}, "publsh", "did you mean publish?"),
        ({"xyz": 1}, "xyz", "there are publish, play"),
    ],
)
def test_what_is_wrong_is_told_without_secrets(table: dict[str, Any], key: str, said: str) -> None:
    with pytest.raises(PolicyFaults) as raised:
        parse_hooks(table)
    [(path, text)] = raised.value.faults
    assert path == ("hooks", key)
    assert text.startswith(f"{key} in [hooks]: ")
    assert said in text
    assert "MARK" not in text
    assert SECRET not in text


def test_all_faults_are_told_in_one_go() -> None:
    with pytest.raises(PolicyFaults) as raised:
        parse_hooks({"publish": 1, "timeout": "x", "other": 2})
    assert [path for path, _ in raised.value.faults] == [
        ("hooks", "publish"),
        ("hooks", "timeout"),
        ("hooks", "other"),
    ]


@pytest.mark.parametrize(("size", "good"), [(23, False), (24, True), (64, True), (65, False)])
def test_a_secret_has_the_size_that_the_convention_allows(size: int, good: bool) -> None:
    table = {"publish": "http://a/", "secret": "whsec_" + base64.b64encode(bytes(size)).decode()}
    if good:
        assert parse_hooks(table).secrets == (bytes(size),)
    else:
        with pytest.raises(PolicyFaults):
            parse_hooks(table)


def test_what_is_shown_of_the_settings_has_no_secret() -> None:
    settings = parse_hooks({"publish": "https://u:MARK@a/?t=MARK", "secret": SECRET})
    assert "MARK" not in repr(settings)
    assert SECRET not in repr(settings)
    assert repr(KEY) not in repr(settings)
