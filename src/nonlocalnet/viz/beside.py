"""Published figures and measured ones side by side, a row for each system."""

from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike

from matplotlib.figure import Figure

from nonlocalnet.files import replacing

PAPER, OURS = "#0072b2", "#d55e00"


@dataclass(frozen=True, kw_only=True)
class Pair:
    """One system, in percent; None and () where there is no figure."""

    words: str
    published: float | None = None
    mean: float | None = None
    low: float | None = None
    """Of the interval of the mean."""
    high: float | None = None
    seeds: Sequence[float] = ()
    """The figure of each seed."""


def draw_beside(
    rows: Sequence[Pair], path: str | PathLike[str], *, x_label: str, data: str
) -> None:
    """Writes a picture: ours with interval and seeds, on their left the paper's if it has figures.

    The two sets differ in difficulty, so each side has an axis of its own; what compares is the
    order and the steps from row to row.

    Args:
        rows: From top to bottom.
        path: The picture (PNG; SVG or PDF by suffix).
        x_label: What the figures are.
        data: What ours were measured on.
    """
    figure = Figure(figsize=(7.2, 0.8 + 0.3 * len(rows)), dpi=150, layout="constrained")
    published = any(row.published is not None for row in rows)
    axes = figure.subplots(1, 2 if published else 1, sharey=True, squeeze=False)[0]
    left, right = axes[0], axes[-1]
    for y, row in enumerate(rows):
        if row.published is not None:
            left.plot(row.published, y, "o", color=PAPER, ms=6)
        if row.mean is not None:
            right.plot(row.seeds, [y] * len(row.seeds), "|", color=OURS, ms=8, alpha=0.5)
            right.plot([row.low, row.high], [y, y], "-", color=OURS, lw=1.5)
            right.plot(row.mean, y, "o", color=OURS, ms=6)
        else:
            right.annotate(
                "not run yet",
                (0.02, y),
                xycoords=("axes fraction", "data"),
                va="center",
                color="#888888",
                fontsize=7,
            )
    left.set_yticks(range(len(rows)), [row.words for row in rows])
    left.set_ylim(len(rows) - 0.5, -0.5)
    if published:
        left.set(xlabel=f"{x_label}, paper")
    right.set(xlabel=f"{x_label}, {data}")
    for ax in axes:
        ax.grid(color="#dddddd", lw=0.5)
        ax.margins(x=0.12)
        ax.spines[["top", "right"]].set_visible(False)
        ax.tick_params(labelsize=8)
    with replacing(path) as part:
        figure.savefig(part)
