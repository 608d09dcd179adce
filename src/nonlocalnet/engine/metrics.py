"""Figures of a test: top-k for one label per video, mean average precision for several (Sec. 5)."""

import numpy as np
from numpy.typing import ArrayLike


def top_k(scores: ArrayLike, labels: ArrayLike, k: int) -> float:
    """Share of the videos whose label is among their k best classes.

    Args:
        scores: (videos, classes); of equal scores in one video the earlier class counts as better.
        labels: (videos,) class numbers.
        k: How many classes count.

    Raises:
        ValueError: No video, shapes that do not fit, a score that is not a number.

    Example:
        >>> top_k([[0.1, 0.7, 0.2], [0.5, 0.2, 0.3]], [1, 2], k=1)
        0.5
    """
    scores, labels = _checked(scores, labels, per_class=False)
    own = scores[np.arange(len(labels)), labels][:, None]
    earlier = np.arange(scores.shape[1]) < labels[:, None]
    ranks = ((scores > own) | ((scores == own) & earlier)).sum(1)
    return float((ranks < k).mean())


def mean_average_precision(
    scores: ArrayLike, targets: ArrayLike
) -> tuple[float, np.ndarray]:  # (), (classes,)
    """mAP, and the average precision of each class: the mean precision at its positives.

    Equal scores share one threshold, as in scikit-learn, so the order of the videos does not
    matter. A class without positives has no average precision: it is nan, and left out of the mean
    (nan if there is no other), as in PySlowFast. The Charades authors' script gives nan as well,
    and then nan for the mean; their whole test set has positives of every class.

    A video without any label is a negative of every class here. The Charades authors' script ranks
    it below all others instead, where it cannot count against any class: for that figure give
    only the videos that have a label. `run_test` reports both where they may differ.

    Args:
        scores: (videos, classes), the higher the surer.
        targets: (videos, classes), 1 or True where the video has the label, else 0.

    Raises:
        ValueError: No video, shapes that do not fit, a score that is not a number, a target that
            is neither 0 nor 1.

    Example:
        >>> mean_average_precision([[0.9, 0.1], [0.8, 0.3], [0.7, 0.2]], [[1, 0], [0, 0], [1, 0]])
        (0.8333333333333333, array([0.83333333,        nan]))
    """
    scores, targets = _checked(scores, targets, per_class=True)
    each = np.array([_average_precision(s, t) for s, t in zip(scores.T, targets.T, strict=True)])
    known = each[~np.isnan(each)]
    return float(known.mean()) if known.size else float("nan"), each


def _average_precision(scores: np.ndarray, targets: np.ndarray) -> float:  # (N,), (N,)
    if not targets.any():
        return float("nan")
    order = np.argsort(-scores, kind="stable")
    falls = scores[order][1:] < scores[order][:-1]
    last = np.append(np.flatnonzero(falls), len(scores) - 1)  # video of each threshold
    hits = targets[order].cumsum()[last]
    precision = hits / (last + 1)
    return float(np.diff(hits, prepend=0) @ precision / hits[-1])


def _checked(
    scores: ArrayLike, truth: ArrayLike, *, per_class: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Scores as float64 (N, C), truth as int64 (N,) or, `per_class`, (N, C)."""
    scores, truth = np.asarray(scores, dtype=np.float64), np.asarray(truth)
    want = scores.shape if per_class else scores.shape[:1]
    if scores.ndim != 2 or not scores.size or truth.shape != want:
        described = "targets (videos, classes)" if per_class else "labels (videos,)"
        raise ValueError(
            f"scores (videos, classes) and {described} must agree and have one video "
            f"at least, got {scores.shape} and {truth.shape}"
        )
    if np.isnan(scores).any():
        raise ValueError(
            f"scores of video {int(np.isnan(scores).any(1).argmax())} are not numbers (nan); "
            "look for the video or the weights that give them"
        )
    if per_class and not np.isin(truth, (0, 1)).all():
        raise ValueError("targets must be 0 or 1, one for each video and class")
    return scores, truth.astype(np.int64)
