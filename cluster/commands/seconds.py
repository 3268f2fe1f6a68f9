"""Lengths of time on the command line, in seconds: 30, 2.5 or 30s."""

from __future__ import annotations

import re

import click

_SECONDS = re.compile(r"([0-9]+(?:\.[0-9]+)?)s?")
_LONGER = re.compile(r"([0-9]+(?:\.[0-9]+)?)(m|min|h)")


def seconds(ctx: click.Context, param: click.Parameter, text: str | None) -> float | None:
    """A click callback: the seconds, None if none were given, or a usage error that says what to write."""
    if text is None:
        return None
    match = _SECONDS.fullmatch(text)
    if match is None:
        raise click.BadParameter(f"{text!r} is not a number of seconds{_instead_of(text)}", ctx, param)
    return float(match[1])


def positive_seconds(ctx: click.Context, param: click.Parameter, text: str | None) -> float | None:
    """A click callback for a time that cannot be 0."""
    found = seconds(ctx, param, text)
    if found == 0:
        raise click.BadParameter("it must be more than 0 seconds", ctx, param)
    return found


def duration(ctx: click.Context, param: click.Parameter, text: str) -> float:
    """A click callback: the seconds of a time that may be long, as 30, 30s, 10m or 2h."""
    match = _SECONDS.fullmatch(text) or _LONGER.fullmatch(text)
    if match is None:
        raise click.BadParameter(f"{text!r} is not a time, as 30s, 10m and 2h are", ctx, param)
    unit_s = {"m": 60, "min": 60, "h": 3600}.get(text.lstrip("0123456789."), 1)
    return float(match[1]) * unit_s


def _instead_of(text: str) -> str:
    """What to write instead of minutes or hours."""
    longer = _LONGER.fullmatch(text)
    if longer is None:
        return ", as 30 and 2.5 are"
    return f": write {float(longer[1]) * (3600 if longer[2] == 'h' else 60):g}"
