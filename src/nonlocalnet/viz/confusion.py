"""The confusion matrix: of the videos of each class, what share was taken for which."""

from collections.abc import Sequence
from os import PathLike

import numpy as np
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure

from nonlocalnet.files import replacing
from nonlocalnet.viz import plain

WRITTEN = 25  # classes up to which every cell says its number
TICKS = 120  # names that fit along an axis
LONGEST = 40  # letters of a name


def draw_confusion(
    counts: np.ndarray,  # (classes, classes) int, true by predicted
    labels: Sequence[str],
    path: str | PathLike[str],
) -> None:
    """Writes the matrix as a picture (PNG; SVG or PDF by suffix): rows true, columns predicted.

    The colour is the share of the row, on a scale that lets a few errors be seen among many right
    answers. The row of a class without videos is hatched. Up to 25 classes have their counts
    written in the cells.
    """
    classes = len(labels)
    totals = counts.sum(1, keepdims=True)
    shares = np.divide(counts, totals, out=np.full(counts.shape, np.nan), where=totals > 0)
    step = -(-classes // TICKS)
    side = float(np.clip(0.45 * classes, 2.0, 14.0))  # inches
    points = float(np.clip(0.8 * 72 * side * step / classes, 4.0, 8.0))
    names = min(max(map(len, labels)), LONGEST) * points * 0.6 / 72  # inches
    figure = Figure(figsize=(side + names + 1.4, side + names + 0.8), dpi=150, layout="constrained")
    ax = figure.subplots()
    ax.set_facecolor("#eeeeee")
    image = ax.imshow(shares, cmap="Blues", norm=PowerNorm(0.4, 0, 1), interpolation="nearest")
    for row in np.flatnonzero(totals[:, 0] == 0):
        ax.axhspan(row - 0.5, row + 0.5, fill=False, hatch="////", ec="#bbbbbb", lw=0)
    shown = range(0, classes, step)
    written = [_short(labels[k]) for k in shown]
    ax.set_xticks(shown, written, rotation=90, fontsize=points)
    ax.set_yticks(shown, written, fontsize=points)
    ax.tick_params(length=2 if classes <= WRITTEN else 0)
    ax.set_xlabel("predicted")
    ax.set_ylabel("true")
    if classes <= WRITTEN:
        for (row, column), count in np.ndenumerate(counts):
            if count:
                colour = "white" if shares[row, column] > 0.25 else "#222222"
                ax.text(column, row, str(count), ha="center", va="center", color=colour, fontsize=8)
    bar = figure.colorbar(
        image, ax=ax, shrink=min(0.6, 4 / side), ticks=(0, 0.01, 0.05, 0.2, 0.5, 1)
    )
    bar.ax.set_yticklabels(("0", "1 %", "5 %", "20 %", "50 %", "100 %"), fontsize=8)
    bar.set_label("share of the true class", fontsize=8)
    with replacing(path) as part:
        figure.savefig(part, bbox_inches="tight")


def _short(label: str) -> str:
    return plain(label if len(label) <= LONGEST else label[: LONGEST - 1] + "…")
