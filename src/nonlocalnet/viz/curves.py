"""Figure 4: the error while training, dashed for training, solid for validation."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike

import numpy as np
from matplotlib.figure import Figure

from nonlocalnet.files import replacing
from nonlocalnet.viz import plain

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
"""Told apart with any kind of colour vision (Okabe and Ito); blue and red come first, as there."""


@dataclass(frozen=True, kw_only=True)
class Curve:
    """The errors of one run, as shares from 0 to 1; training and validation may differ in steps."""

    train_steps: Sequence[float]
    train_error: Sequence[float]
    val_steps: Sequence[float]
    val_error: Sequence[float]
    measure: str = "top-1 error"
    """What the errors are."""


def draw_curves(
    runs: Mapping[str, Curve],
    path: str | PathLike[str],
    *,
    chance: float | None = None,
    smooth: int = 1,
) -> None:
    """Writes the curves of one or more runs as a picture (PNG; SVG or PDF by suffix).

    Args:
        runs: Name in the legend -> its curve.
        path: The picture.
        chance: Error of a guess, drawn as a thin line.
        smooth: Training errors of single batches are noisy: show means over this many of them.
    """
    figure = Figure(figsize=(5.6, 3.4), dpi=160, layout="constrained")
    ax = figure.subplots()
    for (name, run), colour in zip(runs.items(), _cycle(len(runs)), strict=True):
        steps, errors = (running_mean(v, smooth) for v in (run.train_steps, run.train_error))
        ax.plot(steps, 100 * errors, "--", color=colour, lw=1.1, label=f"{plain(name)}, training")
        ax.plot(
            list(run.val_steps),
            100 * np.asarray(run.val_error, float),
            "-",
            color=colour,
            lw=1.8,
            marker="o" if len(run.val_steps) < 12 else "",
            ms=3,
            label=f"{plain(name)}, validation",
        )
    if chance is not None:
        ax.axhline(100 * chance, color="#888888", lw=0.8, ls=":")
        ax.annotate(
            "chance",
            (1, 100 * chance),
            xycoords=("axes fraction", "data"),
            xytext=(-2, 2),
            textcoords="offset points",
            ha="right",
            color="#666666",
            fontsize=7,
        )
    measures = " or ".join(sorted({run.measure for run in runs.values()}))
    ax.set(xlabel="step", ylabel=f"{measures or 'error'} (%)", ylim=(0, None))
    ax.margins(x=0.02)
    ax.grid(color="#dddddd", lw=0.5)
    ax.spines[["top", "right"]].set_visible(False)
    if runs:
        ax.legend(fontsize=7, frameon=False)
    with replacing(path) as part:
        figure.savefig(part)


def running_mean(values: Sequence[float], count: int) -> np.ndarray:
    """Means over `count` neighbours in turn; fewer values than that give one mean.

    Example:
        >>> running_mean([1, 3, 5, 7], 2).tolist(), running_mean([1, 3], 5).tolist()
        ([2.0, 4.0, 6.0], [2.0])
    """
    array = np.asarray(values, float)
    count = max(min(count, len(array)), 1)
    return np.convolve(array, np.full(count, 1 / count), "valid") if len(array) else array


def _cycle(count: int) -> list[str]:
    return [COLOURS[i % len(COLOURS)] for i in range(count)]
