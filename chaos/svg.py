"""Charts over time as SVG, one panel below another."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, PANEL, LEFT, RIGHT, TOP = 900, 170, 80, 20, 40
GAP = 46
COLOURS = ("#1f6feb", "#d1242f", "#1a7f37", "#9a6700")
GRID, INK = "#d0d7de", "#24292f"
TICKS = 4


@dataclass(frozen=True)
class Curve:
    """One curve: its name, and its points as (seconds, value)."""

    name: str
    points: Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Panel:
    """Some curves over the same time and in the same unit."""

    title: str
    unit: str
    curves: Sequence[Curve]


def draw(title: str, panels: Sequence[Panel], *, marks: Sequence[float] = (), until: float) -> str:
    """Return the chart as SVG; ``marks`` are times in seconds, drawn as ticks at the foot of each panel."""
    height = TOP + len(panels) * (PANEL + GAP)
    space = "http://www.w3.org/2000/svg"
    subscribers = [
        f'<svg xmlns="{space}" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" font-size="12">',
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
        text(LEFT, 22, title, anchor="start"),
    ]
    for number, panel in enumerate(panels):
        subscribers += _panel(panel, top=TOP + number * (PANEL + GAP), marks=marks, until=max(until, 1.0))
    return "\n".join([*subscribers, "</svg>\n"])


def text(x: float, y: float, words: str, *, anchor: str, colour: str = INK) -> str:
    """Return text anchored at a point: its start, its middle or its end."""
    place = f'x="{x}" y="{y}" text-anchor="{anchor}" fill="{colour}" font-family="sans-serif"'
    return f"<text {place}>{escape(words)}</text>"


def line(x1: float, y1: float, x2: float, y2: float, *, colour: str) -> str:
    """Return a thin line."""
    return f'<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" stroke="{colour}" stroke-width="0.7"/>'


def _panel(panel: Panel, *, top: float, marks: Sequence[float], until: float) -> list[str]:
    most = nice_above(max((value for curve in panel.curves for _, value in curve.points), default=0.0))
    base, inner = top + PANEL, PANEL - 24
    right = WIDTH - RIGHT

    def across(seconds: float) -> float:
        return round(LEFT + seconds / until * (right - LEFT), 1)

    def up(value: float) -> float:
        return round(base - value / most * inner, 1)

    subscribers = [text(LEFT, top + 14, panel.title, anchor="start")]
    for step in range(TICKS + 1):
        value, seconds = most * step / TICKS, until * step / TICKS
        subscribers += [
            line(LEFT, up(value), right, up(value), colour=GRID),
            text(LEFT - 6, up(value) + 4, f"{value:,.10g}{panel.unit}", anchor="end"),
            text(across(seconds), base + 16, f"{seconds / 60:.3g} min", anchor="middle"),
        ]
    subscribers += [line(across(at), base, across(at), base - 5, colour=INK) for at in marks]
    for number, curve in enumerate(panel.curves):
        colour = COLOURS[number % len(COLOURS)]
        points = " ".join(f"{across(seconds)},{up(value)}" for seconds, value in curve.points)
        subscribers.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.4"/>')
        subscribers.append(
            text(right - 180 * (len(panel.curves) - number - 1), top + 14, curve.name, anchor="end", colour=colour)
        )
    return subscribers


def nice_above(value: float) -> float:
    """Return the smallest round number not below ``value``: 1, 2, 4, 5 or 8 times a power of ten."""
    if value <= 0:
        return 1.0
    unit = 1.0
    while unit * 10 <= value:
        unit *= 10
    while unit > value:
        unit /= 10
    return next(unit * step for step in (1, 2, 4, 5, 8, 10) if unit * step >= value)
