"""A result in words and numbers for people: the same for the terminal, the live view and the report."""

from __future__ import annotations

from typing import Any

#: As ``LoadResult.as_dict`` makes it.
Result = dict[str, Any]

PERCENTILES = ("p50", "p90", "p99", "p99_9", "max")
_DASH = "\N{EN DASH}"


def amount(value: float, unit: str, base: int = 1000) -> str:
    """A number with its unit and a prefix: 2.50 Mbit/s, 51.2 MiB."""
    prefixes = ("", "k", "M", "G", "T") if base == 1000 else ("", "Ki", "Mi", "Gi", "Ti")
    place = 0
    while abs(value) >= base and place < len(prefixes) - 1:
        value /= base
        place += 1
    digits = f"{value:.0f}" if value >= 100 else f"{value:.3g}"
    return f"{digits} {prefixes[place]}{unit}"


def milliseconds(value: float | None) -> str:
    """Three digits where there are none before the point, none where there are three."""
    if value is None:
        return _DASH
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def distributions(result: Result) -> list[tuple[str, list[str]]]:
    """A row each: what it is of; percentiles and maximum in milliseconds, and how many were counted."""
    apart = [
        (f"delay of {medium} alone", result[f"{medium}_delay_ms"])
        for medium in ("video", "audio")
        if f"{medium}_delay_ms" in result
    ]
    rows = (
        ("delay, publish to play", result["delay_ms"]),
        *apart,
        ("join: to the first frame", result["join_ms"]),
        ("join: to the first keyframe", result["picture_ms"]),
        ("generator late by", result["generator"]["late_ms"]),
    )
    return [
        (name, [*(milliseconds(found[each]) for each in PERCENTILES), f"{found['count']:,}"])
        for name, found in rows
    ]


def facts(result: Result) -> list[tuple[str, str]]:
    """A row each: what it is about, and what was seen."""
    players, publishers, frames = result["players"], result["publishers"], result["frames"]
    rows = []
    if publishers["asked"]:
        rows.append(("publishers", f"{publishers['publishing']:.4g} of {publishers['asked']:,} publishing"))
    if players["asked"]:
        playing = players["playing"] + players["slow_playing"]
        slow = f" ({players['slow_playing']:.4g} of them slow)" if players["slow_playing"] else ""
        again = f"; {players['tried_again']:,} early tries refused" if players["tried_again"] else ""
        rows += [
            ("players", f"{playing:.6g} of {players['asked']:,} playing{slow}, on average{again}"),
            ("stalls", f"{players['stalls']:,}, {players['stalled_s']:.1f} s in all"),
            ("frames", f"{frames['read']:,} read by sampled players, {frames['lost']:,} lost, "
                       f"{frames['out_of_order']:,} out of order"),
        ]  # fmt: skip
    rows += [
        (name, f"{amount(result[name]['bits_per_s'], 'bit/s')}, {amount(result[name]['bytes'], 'B')}")
        for name, asked in (("sent", publishers), ("received", players))
        if asked["asked"]
    ]
    if "requests" in result:
        asked = result["requests"]
        failed = sum(asked["failed"].values())
        rows.append(("requests", f"{asked['per_s']:,.0f} a second, {failed:,} failed in all"))
    if result["delivered"] is not None:
        rows.append(("delivered", _delivered(result["delivered"])))
    if result["server"] is not None:
        rows.append(("server", _server(result["server"])))
    rows.append(("generator", f"{_shares(result['generator']['cpu_shares'])} of a core"))
    return rows


def _delivered(share: float) -> str:
    """The share, and why it may be above the whole: a reader would take that for a fault of the count."""
    text = f"{share:.1%} of the bytes that were sent, to each player"
    if round(share, 3) <= 1:
        return text
    return f"{text}. Above 100%: the server's own headers, and what was sent before measuring began"


def _server(server: dict[str, Any]) -> str:
    """What the server used, in all and for each player, or for each publisher if nobody played."""
    peer = "publisher" if server["cpu_ms_per_player_s"] is None else "player"
    cost_ms = server[f"cpu_ms_per_{peer}_s"]
    cost = "" if cost_ms is None else f", {cost_ms:.3f} ms a {peer}-second"
    asked_us = server["cpu_us_per_request"]
    cost += "" if asked_us is None else f", {asked_us:.0f} us a request"
    memory = amount(server["pss_bytes"] or server["rss_bytes_max"], "B", 1024)
    return f"{server['cpu_share']:.1%} of a core{cost}; {memory} in {server['processes']} processes"


def _shares(shares: list[float]) -> str:
    if len(shares) > 4:
        return f"{min(shares):.0%} to {max(shares):.0%}"
    return " + ".join(f"{share:.0%}" for share in shares) or _DASH


def headline(result: Result) -> str:
    """One line that says what was done."""
    plan = result["plan"]
    where = f" of {plan['play_from']}" if plan["play_from"] else ""
    players = f"{plan['players']:,} player{_s(plan['players'])}{where}, for {result['window_s']:.1f} s"
    if not plan["publishers"]:
        return players
    media = plan["file"] or (
        f"{amount(plan['bits_per_s'], 'bit/s')}, {plan['frames_per_s']} fps, a keyframe each "
        f"{plan['gop_s']:g} s"
    )
    return f"{plan['publishers']:,} publisher{_s(plan['publishers'])} ({media}) and {players}"


def _s(count: int) -> str:
    return "" if count == 1 else "s"
