"""Factors on the learning rate, as functions of the step."""

import math
from collections.abc import Sequence


def cosine(step: int, steps: int, warmup: int) -> float:
    """Linear warm-up, then half a cosine down to 0.

    Example:
        >>> [round(cosine(step, 12, 2), 2) for step in (0, 1, 2, 7, 12)]
        [0.5, 1.0, 1.0, 0.5, 0.0]
    """
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(steps - warmup, 1)))


def tenths(step: int, decay_at: Sequence[int], warmup: int) -> float:
    """Linear warm-up, then a tenth from each step of `decay_at` on (Sec. 4.1: 150k and 300k).

    Example:
        >>> [tenths(step, (150_000, 300_000), 0) for step in (0, 149_999, 150_000, 399_999)]
        [1.0, 1.0, 0.1, 0.01]
    """
    if step < warmup:
        return (step + 1) / warmup
    return 10.0 ** -sum(step >= at for at in decay_at)
