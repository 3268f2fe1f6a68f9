"""Line plots as SVG, small and without scripts; colours and fonts come from the page's style sheet.

The SVG has the lines alone and is stretched to the figure's width. The numbers beside the axes are HTML, so
that they are as large on a phone as on a wide screen.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from html import escape
from typing import NamedTuple

WIDTH, HEIGHT = 720, 200
#: About how many lines go across.
_TICKS = 5
#: On a narrow screen a number below the plot needs this share of its width.
_NARROW_SHARE = 0.14

#: (x, y) in ascending x; y None where there is nothing.
Points = Sequence[tuple[float, float | None]]


class Shade(NamedTuple):
    """A part of the x axis to be seen as different, and what the legend calls it."""

    begins: float
    ends: float
    name: str


def line_plot(
    title: str, series: dict[str, Points], *,
    y_text: Callable[[float], str], x_text: Callable[[float], str], x_title: str,
    x_ticks: Sequence[float] | None = None, shade: Shade | None = None,
) -> str:  # fmt: skip
    """An HTML figure: a heading with the legend, and the plot. The y axis begins at 0.

    ``y_text`` and ``x_text`` write the numbers beside the axes, units included. Series without a value are
    left out; the figure is empty text if all are.
    """
    shown = {name: points for name, points in series.items() if any(y is not None for _, y in points)}
    if not shown:
        return ""
    xs = [x for points in shown.values() for x, _ in points]
    ys = [y for points in shown.values() for _, y in points if y is not None]
    low, high = min(xs), max(xs)
    if low == high:
        high = low + 1
    steps = _ticks(max(ys))
    top = steps[-1]

    def share_at(x: float) -> float:
        return (x - low) / (high - low)

    def place(x: float, y: float) -> str:
        return f"{share_at(x) * WIDTH:.1f},{HEIGHT - y / top * HEIGHT:.1f}"

    legend = [f'<span class="c{number}">{escape(name)}</span>' for number, name in enumerate(shown)]
    behind = ""
    if shade is not None and shade.begins < high and shade.ends > low:
        left, right = (share_at(x) * WIDTH for x in (max(low, shade.begins), min(high, shade.ends)))
        behind = f'<rect class="shade" x="{left:.1f}" y="0" width="{right - left:.1f}" height="{HEIGHT}"/>'
        legend.append(f'<span class="shade">{escape(shade.name)}</span>')
    lines = "".join(
        f'<polyline class="line c{number}" points="{" ".join(run)}"/>'
        for number, points in enumerate(shown.values()) for run in _runs(points, place)
    )  # fmt: skip
    ticks = x_ticks if x_ticks is not None else _ticks_between(low, high)
    return (
        f"<figure><figcaption><b>{escape(title)}</b>{''.join(legend)}</figcaption>"
        f'<div class="plot"><div class="ys">{_across(steps, y_text)}</div>'
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" preserveAspectRatio="none" role="img" '
        f'aria-label="{escape(title)}">{behind}{_grid(len(steps))}{lines}</svg>'
        f'<div class="xs">{_along([(share_at(tick), x_text(tick)) for tick in ticks])}</div>'
        f'<div class="x-title">{escape(x_title)}</div></div></figure>'
    )


def _grid(count: int) -> str:
    """That many lines across, from the bottom to the top."""
    heights = (HEIGHT * number / (count - 1) for number in range(count))
    return "".join(f'<line class="grid" x1="0" x2="{WIDTH}" y1="{y:.1f}" y2="{y:.1f}"/>' for y in heights)


def _across(steps: Sequence[float], y_text: Callable[[float], str]) -> str:
    """The numbers of the lines that go across, the highest first; the style sheet spaces them evenly."""
    return "".join(f"<span>{escape(y_text(step))}</span>" for step in reversed(steps))


def _along(labels: Sequence[tuple[float, str]]) -> str:
    """The numbers below the plot, each at its share of the width. Those that have no room on a narrow
    screen are of the class ``wide``; the last one always has."""
    written: list[str] = []
    taken = math.inf
    for share, text in reversed(labels):
        fits = taken - share >= _NARROW_SHARE
        if fits:
            taken = share
        wide = "" if fits else ' class="wide"'
        written.append(f'<span{wide} style="left:{share:.2%}">{escape(text)}</span>')
    return "".join(reversed(written))


def _runs(points: Points, place: Callable[[float, float], str]) -> list[list[str]]:
    """Neighbouring points that have a value, as SVG has them; a lone one as a short dash."""
    runs: list[list[str]] = [[]]
    for x, y in points:
        if y is None:
            runs.append([])
        else:
            runs[-1].append(place(x, y))
    return [run if len(run) > 1 else [*run, *run] for run in runs if run]


def _ticks(highest: float) -> list[float]:
    """Round numbers from 0 to at least ``highest``."""
    step = _round_step((highest or 1.0) / _TICKS)
    return [step * number for number in range(math.ceil((highest or 1.0) / step - 1e-9) + 1)]


def _ticks_between(low: float, high: float) -> list[float]:
    step = _round_step((high - low) / (2 * _TICKS))
    first = math.ceil(low / step - 1e-9)
    return [step * number for number in range(first, math.floor(high / step + 1e-9) + 1)]


def _round_step(rough: float) -> float:
    """1, 2 or 5 times a power of ten, at least ``rough``."""
    power = 10.0 ** math.floor(math.log10(rough))
    return next((power * factor for factor in (1, 2, 5) if power * factor >= rough * 0.999), power * 10)
