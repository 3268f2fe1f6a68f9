"""Lengths of time as they are typed."""

from __future__ import annotations

import click
import pytest

from cluster.commands.seconds import positive_seconds, seconds

PARAMETER = click.Option(["--duration"])
CONTEXT = click.Context(click.Command("play"))


@pytest.mark.parametrize(("text", "read"), [("30", 30), ("2.5", 2.5), ("30s", 30), ("0", 0), (None, None)])
def test_what_is_read(text: str | None, read: float | None) -> None:
    assert seconds(CONTEXT, PARAMETER, text) == read


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("5m", "'5m' is not a number of seconds: write 300"),
        ("1.5h", "'1.5h' is not a number of seconds: write 5400"),
        ("soon", "'soon' is not a number of seconds, as 30 and 2.5 are"),
        ("-1", "'-1' is not a number of seconds, as 30 and 2.5 are"),
        ("", "'' is not a number of seconds, as 30 and 2.5 are"),
        ("٣", "'٣' is not a number of seconds, as 30 and 2.5 are"),
    ],
)
def test_what_is_none_is_told_how_to_write_it(text: str, says: str) -> None:
    with pytest.raises(click.BadParameter) as raised:
        seconds(CONTEXT, PARAMETER, text)
    assert raised.value.message == says


def test_none_at_all() -> None:
    with pytest.raises(click.BadParameter, match="more than 0"):
        positive_seconds(CONTEXT, PARAMETER, "0.0")
    assert positive_seconds(CONTEXT, PARAMETER, None) is None
    assert positive_seconds(CONTEXT, PARAMETER, "0.1") == 0.1
