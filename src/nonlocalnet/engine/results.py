"""The content of results.json that is found out from the scores of the videos."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nonlocalnet.data.folder import Sample
from nonlocalnet.data.listed import SUFFIXES
from nonlocalnet.data.sets import video_target
from nonlocalnet.engine.metrics import mean_average_precision, top_k
from nonlocalnet.engine.partial import Scored


def list_hash(samples: Sequence[Sample], labels: Sequence[str]) -> str:
    """Of which videos a test was, with which labels: the same wherever the data lie.

    A video counts by its name and its folder's, in any order.
    """
    rows = []
    for sample in samples:
        shown = {action.label for action in sample.actions}
        shown = shown if sample.label is None else {sample.label}
        rows.append((sample.video.path.parts[-2:], sorted(labels[k] for k in shown)))
    return hashlib.sha256(repr(sorted(rows)).encode()).hexdigest()[:16]


def submission(results: dict[str, Any]) -> str:
    """The file that the evaluation of Charades takes: a line per video, its id and its scores.

    Args:
        results: Of `run_test`; the id is the name of the video's file or folder of frames.
    """
    lines = []
    for video in results["videos"]:
        path = Path(video["path"])
        name = path.stem if path.suffix.lower() in SUFFIXES else path.name
        lines.append(" ".join([name, *(f"{score:.9g}" for score in video["scores"])]) + "\n")
    return "".join(lines)


def one_label(
    found: Sequence[Scored], labels: Sequence[str], samples: Sequence[Sample]
) -> tuple[dict[str, float], dict[str, Any]]:
    """(figures, what else results.json has of the videos)."""
    numbers = [sample.label for sample in samples if sample.label is not None]
    videos = []
    for (scores, clips), number, sample in zip(found, numbers, samples, strict=True):
        order = scores.argsort(descending=True, stable=True).tolist()
        videos.append(
            {
                "path": str(sample.video.path),
                "label": labels[number],
                "predicted": labels[int(order[0])],
                "rank": order.index(number),  # of the true label, 0 = first
                "scores": _exactly(scores),
                "clips": clips,
            }
        )
    every = torch.stack([row.scores for row in found])
    figures = {f"top{k}": top_k(every, numbers, k) for k in (1, 5) if k < len(labels)}
    return figures, {"videos": videos}


def several_labels(
    found: Sequence[Scored], labels: Sequence[str], samples: Sequence[Sample]
) -> tuple[dict[str, float], dict[str, Any]]:
    """The same where a video may have several labels (Sec. 5.2), with coverage and classes."""
    scores = torch.stack([row.scores for row in found])
    targets = torch.stack([video_target(sample, len(labels)) for sample in samples]).bool()
    labelled = targets.any(1)
    precision, each = mean_average_precision(scores, targets)
    figures = {}
    if labelled.any():
        figures["mAP"] = precision
        if not labelled.all():  # as the Charades authors' script, see mean_average_precision
            figures["mAP_labelled"] = mean_average_precision(scores[labelled], targets[labelled])[0]
    positives = dict(zip(labels, targets.sum(0).tolist(), strict=True))
    rows = zip(samples, targets, scores, strict=True)
    return figures, {
        "coverage": {
            "classes": len(labels),
            "without_positives": [label for label, count in positives.items() if not count],
            "videos_without_label": int((~labelled).sum()),
        },
        "classes": [
            {"label": label, "positives": count, "average_precision": None if np.isnan(ap) else ap}
            for (label, count), ap in zip(positives.items(), each.tolist(), strict=True)
        ],
        "videos": [
            {
                "path": str(sample.video.path),
                "labels": [labels[int(k)] for k in target.nonzero()],
                "scores": _exactly(row),
            }
            for sample, target, row in rows
        ],
    }


def _exactly(scores: Tensor) -> list[float]:
    """Nine digits: they read back as the same float32."""
    return [float(f"{score:.9g}") for score in scores.tolist()]
