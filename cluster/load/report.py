"""A result as one HTML page: self-contained, without scripts, light or dark as its reader has it."""

from __future__ import annotations

import math
from html import escape
from typing import Any

from cluster.load.plots import Points, Shade, line_plot
from cluster.load.summary import PERCENTILES, Result, amount, distributions, facts, headline

_STYLE = """
:root { color-scheme: light dark; --text: #1c2330; --faint: #5c6675; --line: #dde2ea; --page: #f5f7fa;
  --card: #fff; --shade: #eceff5; --warn: #8a4b00; --warn-page: #fff4e0;
  --c0: #1667c9; --c1: #c2410c; --c2: #15803d; --c3: #7e3ff2; }
@media (prefers-color-scheme: dark) {
  :root { --text: #e4e8ef; --faint: #98a2b3; --line: #323a47; --page: #12161d; --card: #1b212b;
    --shade: #262e3b; --warn: #ffc66d; --warn-page: #33280f;
    --c0: #6cb2ff; --c1: #ff9a5c; --c2: #5fd38a; --c3: #b79bff; } }
* { box-sizing: border-box; }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--text); background: var(--page);
  max-width: 1560px; margin: 0 auto; padding: 24px; }
h1 { font-size: 22px; line-height: 1.3; margin: 0; overflow-wrap: anywhere; }
p { margin: 4px 0 0; }
p.faint { color: var(--faint); margin-top: 8px; }
pre { font: 13px/1.5 ui-monospace, monospace; margin: 10px 0 0; white-space: pre-wrap;
  overflow-wrap: anywhere; }
.warnings { background: var(--warn-page); color: var(--warn); border-radius: 8px; margin: 12px 0;
  padding: 12px 16px; }
.warnings ul { margin: 4px 0 0; padding-left: 20px; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 560px), 1fr)); gap: 16px;
  margin-top: 16px; }
.card, figure { background: var(--card); border: 1px solid var(--line); border-radius: 8px;
  padding: 14px 16px; margin: 0; min-width: 0; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: left; vertical-align: top; padding: 4px 16px 4px 0;
  border-bottom: 1px solid var(--line); font-weight: 400; }
tr:last-child > * { border-bottom: 0; }
th { color: var(--faint); }
.numbers td, .numbers thead th + th { text-align: right; padding: 4px 0 4px 12px; }
figcaption { display: flex; flex-wrap: wrap; gap: 0 16px; margin-bottom: 12px; }
figcaption b { font-weight: 600; }
figcaption span::before { content: ""; display: inline-block; width: 14px; height: 3px; margin-right: 6px;
  vertical-align: middle; background: currentColor; }
figcaption .shade { color: var(--faint); }
figcaption .shade::before { height: 12px; border: 1px solid var(--line); background: var(--shade); }
.plot { display: grid; grid-template-columns: max-content minmax(0, 1fr); gap: 0 8px; padding-right: 22px;
  font-size: 12px; line-height: 18px; color: var(--faint); font-variant-numeric: tabular-nums; }
.ys { display: flex; flex-direction: column; justify-content: space-between; text-align: right;
  white-space: nowrap; }
.ys span { height: 0; line-height: 0; }
.xs, .x-title { grid-column: 2; }
.xs { position: relative; height: 18px; margin-top: 6px; }
.xs span { position: absolute; transform: translateX(-50%); white-space: nowrap; }
.x-title { text-align: center; }
svg { width: 100%; height: 200px; display: block; overflow: visible; }
svg * { vector-effect: non-scaling-stroke; }
svg .grid { stroke: var(--line); }
svg .shade { fill: var(--shade); }
svg .line { fill: none; stroke: currentColor; stroke-width: 1.8; stroke-linejoin: round;
  stroke-linecap: round; }
.c0 { color: var(--c0); } .c1 { color: var(--c1); } .c2 { color: var(--c2); } .c3 { color: var(--c3); }
@media (max-width: 600px) {
  body { padding: 14px; }
  .card, figure { padding: 12px; }
  .xs .wide { display: none; }
  .numbers { font-size: 14px; }
  .numbers tr { display: grid; grid-template-columns: repeat(5, 1fr) 1.7fr; gap: 0 4px; padding: 4px 0;
    border-bottom: 1px solid var(--line); }
  .numbers tr:last-child { border-bottom: 0; }
  .numbers thead tr:last-child { border-bottom: 1px solid var(--line); }
  .numbers tr > * { border: 0; }
  .numbers th:first-child { grid-column: 1 / -1; }
  .numbers td, .numbers thead th + th { padding: 0; } }
"""

_MIB = 1024 * 1024
#: Where the curve of percentiles has its marks.
_CURVE_MARKS = (0.0, 0.5, 0.9, 0.99, 0.999, 0.9999)


def html_report(result: Result) -> str:
    """The page."""
    plots = "".join(_plots(result))
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>Load on {escape(result['url'])}</title><style>{_STYLE}</style>"
        f"<h1>{escape(result['url'])}</h1>{_warnings(result)}<p>{escape(headline(result))}</p>"
        f"{_origin(result)}"
        f'<div class="cards">{_distributions(result)}{_facts(result)}{plots}</div></html>\n'
    )


def _warnings(result: Result) -> str:
    """What is wrong with the result: above everything else, for the figures may mean nothing."""
    items = "".join(f"<li>{escape(text)}</li>" for text in result["complaints"])
    return f'<div class="warnings"><b>To mind first</b><ul>{items}</ul></div>' if items else ""


def _origin(result: Result) -> str:
    command = f"<pre>{escape(result['command'])}</pre>" if result["command"] else ""
    where = f"{result['at']}, rtmp-cluster {result['version']}, on {result['host']}"
    return f'{command}<p class="faint">{escape(where)}</p>'


def _distributions(result: Result) -> str:
    names = (*PERCENTILES, "count")
    head = "".join(f"<th>{name.replace('_', '.')}</th>" for name in names)
    rows = "".join(
        f"<tr><th>{escape(name)}</th>{''.join(f'<td>{value}</td>' for value in values)}</tr>"
        for name, values in distributions(result)
    )
    return (
        f'<div class="card"><table class="numbers"><thead><tr><th>milliseconds</th>{head}</tr></thead>'
        f"{rows}</table></div>"
    )


def _facts(result: Result) -> str:
    rows = "".join(
        f"<tr><th>{escape(name)}</th><td>{escape(text)}</td></tr>" for name, text in facts(result)
    )
    return f'<div class="card"><table>{rows}</table></div>'


def _plots(result: Result) -> list[str]:
    timeline = result["timeline"]
    plan = result["plan"]
    before = Shade(-math.inf, 0, "players join, then settle" if plan["players"] else "settling")

    def over_time(title: str, y_text: Any, **series: Points) -> str:
        named = {name.replace("_", " "): points for name, points in series.items()}
        return line_plot(
            title, named, y_text=y_text, x_text=lambda x: f"{x:g} s",
            x_title="0: measuring begins", shade=before,
        )  # fmt: skip

    def column(*path: str) -> Points:
        return [(row["ends_s"], _at(row, path)) for row in timeline]

    def bits(value: float) -> str:
        return amount(value, "bit/s")

    return [
        over_time(
            "Delay from publish to play", _ms,
            p50=column("delay_ms", "p50"), p90=column("delay_ms", "p90"), p99=column("delay_ms", "p99"),
        ),
        _delay_curve(result),
        over_time(
            "Connections", lambda y: f"{y:,.0f}", publishing=column("publishing"),
            playing=column("playing"), joining=column("joining"),
        ),
        over_time(
            "Bit rate", bits, sent=column("sent_bits_per_s"), received=column("received_bits_per_s"),
        ),
        over_time(
            "Trouble, each second", lambda y: f"{y:,g}",
            **{name: column(name) for name in ("stalls", "disconnects") if any(y for _, y in column(name))},
        ),
        over_time(
            "CPU, of one core", lambda y: f"{y:.0%}", server=column("server_cpu_share"),
            generator=column("generator_cpu_share"),
        ),
        over_time(
            "Memory of the server's processes (RSS)", lambda y: f"{y:,g} MiB",
            server=[(x, None if y is None else y / _MIB) for x, y in column("server_rss_bytes")],
        ),
    ]  # fmt: skip


def _delay_curve(result: Result) -> str:
    """The delay by percentile, each nine as wide as the one before."""
    points = [(_nines(share), value) for share, value in result["delay_curve"]]
    return line_plot(
        "Delay by percentile", {"delay": points}, y_text=_ms,
        x_text=lambda x: f"p{100 * (1 - 10**-x):.6g}", x_title="share of all frames",
        x_ticks=[_nines(mark) for mark in _CURVE_MARKS],
    )  # fmt: skip


def _nines(share: float) -> float:
    return -math.log10(1 - share)


def _at(row: dict[str, Any], path: tuple[str, ...]) -> Any:
    value: Any = row
    for name in path:
        value = value[name]
    return value


def _ms(value: float) -> str:
    return f"{value:,g} ms"
