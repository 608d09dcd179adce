"""The videos that a test got most wrong: where to look for bad labels and for what is hard."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from nonlocalnet.data.video import BadVideo, open_video, read_frames
from nonlocalnet.engine.perclass import THRESHOLD
from nonlocalnet.engine.statistics import is_multi_label, score_table, target_table

TINY = 1e-12  # a score of 0 is no infinite loss


def worst(results: Mapping[str, Any], count: int = 20) -> list[int]:
    """Rows of `videos` with the largest loss, worst first; of equal losses the earlier row.

    The loss is the one that was trained: the cross entropy of the true label's score, or the mean
    binary cross entropy of all classes where a video may have several labels.

    Example:
        >>> rows = [{"label": "a", "scores": [0.7, 0.3]}, {"label": "a", "scores": [0.1, 0.9]}]
        >>> worst({"labels": ["a", "b"], "videos": rows})
        [1, 0]
    """
    scores, targets = score_table(results), target_table(results, results["videos"])
    gains = np.log(np.maximum(np.where(targets, scores, 1 - scores), TINY))
    # Of one label per video each row of `targets` has one.
    losses = -(gains.mean(1) if is_multi_label(results) else gains[targets])
    return np.argsort(-losses, kind="stable")[:count].tolist()


def in_words(results: Mapping[str, Any], row: int) -> tuple[str, bool]:
    """(what the video shows and what it was taken for, with scores; whether that is right).

    Example:
        >>> rows = [{"label": "a", "predicted": "b", "scores": [0.1, 0.9]}]
        >>> in_words({"labels": ["a", "b"], "videos": rows}, 0)
        ('a 10 %, taken for b 90 %', False)
    """
    video, labels = results["videos"][row], results["labels"]
    scores = dict(zip(labels, video["scores"], strict=True))

    def named(names) -> str:
        return ", ".join(f"{name} {100 * scores[name]:.0f} %" for name in names) or "nothing"

    if not is_multi_label(results):
        true, said = video["label"], video["predicted"]
        wrong = "" if true == said else f", taken for {named([said])}"
        return named([true]) + wrong, true == said
    said = [name for name in labels if scores[name] >= THRESHOLD]
    said.sort(key=lambda name: -scores[name])
    return f"{named(video['labels'])}; said: {named(said)}", set(said) == set(video["labels"])


def glimpse(
    path: str, count: int = 4, short_side: int = 96
) -> np.ndarray | None:  # (count, H, W, 3) uint8
    """Frames from the middle of each of `count` equal parts of a video; None: it is unreadable."""
    try:
        video = open_video(path)
        middles = (2 * np.arange(count) + 1) * video.frames // (2 * count)
        return read_frames(video, middles, short_side)
    except BadVideo:
        return None
