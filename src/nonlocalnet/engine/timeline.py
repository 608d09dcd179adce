"""When does it happen? The scores of sliding windows over a long video, as a list of stretches.

Every moment has the mean score of the windows that cover it; neighbouring moments with the same
label become one stretch. Where a video may have several labels, stretches of several may overlap.
"""

import csv
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nonlocalnet.data.video import open_video
from nonlocalnet.data.windows import sliding_windows
from nonlocalnet.engine.classifier import Classifier
from nonlocalnet.engine.perclass import THRESHOLD
from nonlocalnet.engine.testing import clip_scores
from nonlocalnet.nn.probe import unnoticed


@dataclass(frozen=True)
class Stretch:
    """One thing that happens, and when."""

    start: float
    """Seconds."""
    end: float
    """Seconds."""
    label: str
    score: float
    """Mean over its moments."""


@dataclass(frozen=True, kw_only=True)
class Timeline:
    """What happens in a video, and when."""

    path: Path
    labels: Sequence[str] = field(repr=False)
    start: np.ndarray = field(repr=False)  # (W,) seconds
    """Of each window."""
    end: np.ndarray = field(repr=False)  # (W,) seconds
    scores: np.ndarray = field(repr=False)  # (W, classes)
    stretches: list[Stretch]

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "path": str(self.path),
            "seconds": round(float(self.end[-1]), 3),
            "windows": len(self.start),
            "timeline": [asdict(stretch) for stretch in self.stretches],
        }

    def as_json(self) -> str:
        """`as_dict` as text."""
        return json.dumps(self.as_dict(), indent=1) + "\n"

    def as_csv(self) -> str:
        """Columns start, end, label, score."""
        text = io.StringIO()
        rows = csv.writer(text, lineterminator="\n")
        rows.writerow(["start", "end", "label", "score"])
        rows.writerows([s.start, s.end, s.label, s.score] for s in self.stretches)
        return text.getvalue()

    def as_srt(self) -> str:
        """Subtitles, which players show over the video."""
        return "\n".join(
            f"{count}\n{_clock(s.start)} --> {_clock(s.end)}\n"
            f"{' '.join(s.label.split())} ({s.score:.0%})\n"
            for count, s in enumerate(self.stretches, start=1)
        )


def timeline(
    classifier: Classifier,
    source: str | Path | np.ndarray,
    *,
    window: float | None = None,
    every: float | None = None,
    threshold: float | None = None,
    reader: str | None = None,
    fps: float = 30.0,
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> Timeline:
    """Labels of a video over its time.

    Args:
        classifier: From `load`.
        source: See `open_video`.
        window: See `sliding_windows`.
        every: See `sliding_windows`.
        threshold: Leaves out moments with a lower score; None: 0, where a video may have several
            labels 0.5.
        reader: See `open_video`.
        fps: See `open_video`.
        progress: Called with (windows done, windows in all).

    Raises:
        BadVideo: The file cannot be read.
        ValueError: A threshold that is no share, or see `sliding_windows`.
    """
    if threshold is None:
        threshold = THRESHOLD if classifier.multi_label else 0.0
    if not 0 <= threshold <= 1:
        raise ValueError(f"threshold={threshold:g} must be a score from 0 to 1")
    video = open_video(source, reader, fps=fps)
    windows = sliding_windows(video, classifier.clip, window=window, every=every)
    device = next(classifier.model.parameters()).device
    scores = np.empty((len(windows), len(classifier.labels)), np.float32)
    with unnoticed(classifier.model):
        for row, clip in enumerate(windows.read()):
            seen = torch.from_numpy(clip)[None].to(device)
            found = clip_scores(classifier.model, seen, classifier.clip, classifier.multi_label)
            scores[row] = found[0].cpu().numpy()
            progress(row + 1, len(windows))
    return Timeline(
        path=video.path,
        labels=classifier.labels,
        start=windows.start,
        end=windows.end,
        scores=scores,
        stretches=stretches(
            windows.start,
            windows.end,
            scores,
            classifier.labels,
            threshold,
            one=not classifier.multi_label,
        ),
    )


def stretches(
    start: np.ndarray,  # (W,) seconds
    end: np.ndarray,  # (W,) seconds
    scores: np.ndarray,  # (W, classes)
    labels: Sequence[str],
    threshold: float,
    *,
    one: bool,
) -> list[Stretch]:
    """Neighbouring moments with the same label, by start.

    Args:
        start: Ascending.
        end: Ascending.
        scores: Of each window.
        labels: Of each class.
        threshold: Moments with a lower score are left out.
        one: A moment has its best label only.

    Example:
        >>> start, end = np.array([0.0, 1, 2]), np.array([2.0, 3, 4])
        >>> scores = np.array([[1, 0], [0.75, 0.25], [0, 1]])
        >>> for s in stretches(start, end, scores, ["walk", "run"], 0, one=True):
        ...     print(s)
        Stretch(start=0.0, end=2.0, label='walk', score=0.9375)
        Stretch(start=2.0, end=4.0, label='run', score=0.8125)
    """
    bounds = np.unique(np.concatenate([start, end]))
    # Windows are in order: those that cover a moment follow each other.
    first = np.searchsorted(end, bounds[:-1], side="right")
    past = np.searchsorted(start, bounds[:-1], side="right")
    sums = np.concatenate([np.zeros((1, scores.shape[1])), scores.cumsum(0, dtype=np.float64)])
    covering = np.maximum(past - first, 0)
    means = (sums[past] - sums[np.minimum(first, past)]) / np.maximum(covering, 1)[:, None]
    here = (means >= threshold) & (covering > 0)[:, None]
    if one:
        here &= np.arange(len(labels)) == means.argmax(1)[:, None]
    lengths = np.diff(bounds)
    found = []
    for which, label in enumerate(labels):
        edges = np.diff(np.concatenate([[0], here[:, which].astype(np.int8), [0]]))
        for a, b in zip(np.flatnonzero(edges > 0), np.flatnonzero(edges < 0), strict=True):
            score = float(np.average(means[a:b, which], weights=lengths[a:b]))
            # Sums of many windows may end a rounding error beside the share that they are.
            score = round(min(max(score, 0.0), 1.0), 6)
            begins, ends = (round(float(bounds[at]), 3) for at in (a, b))
            found.append(Stretch(begins, ends, label, score))
    return sorted(found, key=lambda stretch: stretch.start)


def _clock(seconds: float) -> str:
    """As subtitles have it: 00:01:02,345."""
    milliseconds = round(1000 * seconds)
    rest, ms = divmod(milliseconds, 1000)
    return f"{rest // 3600:02}:{rest // 60 % 60:02}:{rest % 60:02},{ms:03}"
