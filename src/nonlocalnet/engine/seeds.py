"""Figures over several seeds: means, and intervals paired by seed and by video.

A network's figure depends on its seed and on the videos that it is tested on, and both are drawn.
So the bootstrap draws both: seeds with replacement and, independently, videos with replacement.
The difference of two networks is that of the same seed on the same video.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nonlocalnet.engine.statistics import RESAMPLES, Figure, interval


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A mean over seeds, as a share of 1."""

    mean: float
    low: float
    """Of the 95 % interval."""
    high: float
    seeds: int


def estimate(
    row: Sequence[Figure],
    videos: int,
    base: Sequence[Figure] | None = None,
) -> Estimate:
    """Mean of a figure over seeds, or of its difference from `base` seed by seed.

    Args:
        row: The figure of each seed, as a function of how often each video counts.
        videos: How many videos there are.
        base: The same of another network, for the same seeds in the same order.

    Raises:
        ValueError: No seed, or other seeds in `base`.

    Example:
        >>> right = np.array([[1, 1, 0, 1], [1, 0, 0, 1]])  # (seeds, videos)
        >>> figures = [lambda counts, one=one: counts @ one / counts.sum() for one in right]
        >>> found = estimate(figures, videos=4)
        >>> found.mean, found.low < 0.625 < found.high
        (0.625, True)
        >>> estimate(figures, 4, figures)  # the same network: no difference, and no doubt
        Estimate(mean=0.0, low=0.0, high=0.0, seeds=2)
    """
    if not row or (base is not None and len(base) != len(row)):
        raise ValueError(
            f"figures of {len(row)} seeds and of {len(row if base is None else base)} seeds of the "
            "base; give the same seeds of both, at least one"
        )
    rng = np.random.default_rng(0)
    chosen = list(range(len(row)))

    def mean_of(counts: np.ndarray, seeds: Sequence[int]) -> float:
        values = [row[s](counts) - (base[s](counts) if base else 0.0) for s in seeds]
        return float(np.mean(values))

    drawn = np.empty(RESAMPLES)
    for i in range(RESAMPLES):
        counts = np.bincount(rng.integers(videos, size=videos), minlength=videos)
        drawn[i] = mean_of(counts, rng.integers(len(row), size=len(row)).tolist())
    low, high = interval(drawn)
    return Estimate(
        mean=mean_of(np.ones(videos), chosen),
        low=low,
        high=high,
        seeds=len(row),
    )
