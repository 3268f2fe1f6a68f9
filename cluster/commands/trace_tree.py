"""The way of one stream as a tree for a terminal: what ``/v1/streams/KEY/trace`` answers, line by line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich.cells import cell_len

from cluster.commands.api_tables import missing
from cluster.process.words import printable

Hop = Mapping[str, Any]

#: Where the figures begin: behind the names, if these are short enough.
_FIGURES_AT = 44
#: The longest delay is marked if it is at least so long.
_MARKED_MS = 5.0
#: A clock that is further off, or a router further away, than this is told.
_CLOCK_MS = 100.0


def tree(trace: Mapping[str, Any]) -> Iterator[str]:
    """The lines."""
    hops: list[Hop] = trace["hops"]
    children: dict[int, list[Hop]] = {}
    for hop in hops:
        children.setdefault(hop["from_hop"], []).append(hop)
    ends = [hop["total_ms"] for hop in hops if hop["kind"] == "players"]
    players = sum(hop["players"] for hop in hops)
    slowest = f", the slowest way takes {max(ends):.1f} ms" if ends else ""
    yield printable(f"{trace['key']}: {players} player{'' if players == 1 else 's'}{slowest}")
    yield ""
    longest = max((_delay(hop) for hop in hops), default=0.0)
    for hop in children.get(-1, ()):
        yield from _branch(hop, children, "", "", longest if longest >= _MARKED_MS else None)
    yield from _routers(trace["routers"])
    yield from missing(trace)


def _branch(
    hop: Hop, children: Mapping[int, list[Hop]], first: str, rest: str, longest: float | None
) -> Iterator[str]:
    name = printable(f"{first}{_name(hop)}")
    room = " " * max(2, _FIGURES_AT - cell_len(name))
    mark = "  <-- most of it" if longest is not None and _delay(hop) == longest else ""
    yield f"{name}{room}{_figures(hop)}{mark}".rstrip()
    below = children.get(hop["number"], [])
    for index, each in enumerate(below):
        is_last = index == len(below) - 1
        more = (f"{rest}└─ ", f"{rest}   ") if is_last else (f"{rest}├─ ", f"{rest}│  ")
        yield from _branch(each, children, *more, longest)


def _name(hop: Hop) -> str:
    kind = hop["kind"]
    if kind == "players":
        return f"{hop['players']} player{'' if hop['players'] == 1 else 's'}"
    if kind in ("origin", "worker"):
        return f"{kind} {hop['name']}/{hop['worker']}"
    return f"{kind} {hop['name']}".rstrip()


def _figures(hop: Hop) -> str:
    kind = hop["kind"]
    delay = "" if hop["delay_ms"] is None else f"{hop['delay_ms']:.1f} ms"
    figures = ["" if kind == "publisher" else f"{delay:>10}"]
    if hop["held_ms"]:
        figures.append(f"then {hop['held_ms']:.1f} ms in it")
    if hop["bits_per_second"] is not None:
        figures.append(f"{hop['bits_per_second'] / 1_000_000:.2f} Mbit/s")
    if hop["lost"]:
        figures.append(f"{hop['lost']} messages {'not sent' if kind == 'players' else 'missing'}")
    if hop["players_behind"]:
        figures.append(f"{hop['players_behind']} behind, by {hop['behind_ms'] / 1000:.1f} s at most")
    if kind == "players":
        figures.append(f"= {hop['total_ms']:.1f} ms")
    return "  ".join(figures)


def _delay(hop: Hop) -> float:
    return float(hop["delay_ms"] or 0.0) + float(hop["held_ms"])


def _routers(routers: list[Mapping[str, Any]]) -> Iterator[str]:
    """What is wrong with the routers, as the workers on the way see them."""
    for each in routers:
        who = f"! worker {each['node']}/{each['worker']}, router {each['router']}:"
        if not each["live"]:
            yield printable(f"{who} it does not answer")
        if each["dropped"]:
            yield printable(f"{who} {each['dropped']} envelopes had no room in the queue to it")
        if each["clock_offset_ms"] is not None and abs(each["clock_offset_ms"]) >= _CLOCK_MS:
            yield printable(f"{who} its clock is {each['clock_offset_ms'] / 1000:+.1f} s off")
