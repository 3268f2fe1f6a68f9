"""Line plots as SVG, small and without scripts; colours and fonts come from the page's style sheet."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from html import escape

WIDTH, HEIGHT = 720, 240
_LEFT, _RIGHT, _TOP, _BOTTOM = 76, 28, 12, 36
#: About how many lines go across.
_TICKS = 5

#: (x, y) in ascending x; y None where there is nothing.
Points = Sequence[tuple[float, float | None]]


def line_plot(
    title: str, series: dict[str, Points], *,
    y_text: Callable[[float], str], x_text: Callable[[float], str], x_title: str,
    x_ticks: Sequence[float] | None = None,
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

    def x_at(x: float) -> float:
        return _LEFT + (x - low) / (high - low) * (WIDTH - _LEFT - _RIGHT)

    def y_at(y: float) -> float:
        return HEIGHT - _BOTTOM - y / top * (HEIGHT - _TOP - _BOTTOM)

    parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">']
    for step in steps:
        y = y_at(step)
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(_label("y", _LEFT - 8, y + 4, y_text(step)))
    for tick in x_ticks if x_ticks is not None else _ticks_between(low, high):
        parts.append(_label("x", x_at(tick), HEIGHT - _BOTTOM + 16, x_text(tick)))
    parts.append(_label("x", (_LEFT + WIDTH - _RIGHT) / 2, HEIGHT - 3, x_title))
    for number, points in enumerate(shown.values()):
        parts += [
            f'<polyline class="line c{number}" points="{" ".join(run)}"/>'
            for run in _runs(points, x_at, y_at)
        ]
    parts.append("</svg>")
    legend = "".join(f'<span class="c{number}">{escape(name)}</span>' for number, name in enumerate(shown))
    return f"<figure><figcaption>{escape(title)}{legend}</figcaption>{''.join(parts)}</figure>"


def _label(axis: str, x: float, y: float, text: str) -> str:
    return f'<text class="{axis}" x="{x:.1f}" y="{y:.1f}">{escape(text)}</text>'


def _runs(
    points: Points, x_at: Callable[[float], float], y_at: Callable[[float], float]
) -> list[list[str]]:
    """Neighbouring points that have a value, as SVG has them; a lone one as a short dash."""
    runs: list[list[str]] = [[]]
    for x, y in points:
        if y is None:
            runs.append([])
        else:
            runs[-1].append(f"{x_at(x):.1f},{y_at(y):.1f}")
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
