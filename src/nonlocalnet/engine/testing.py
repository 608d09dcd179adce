"""The test of Sec. 4.1: evenly spread clips, whole frames, the mean of their softmax scores.

Where a video may have several labels (Sec. 5.2) each class has a sigmoid, and the figure is mAP.
Training-time validation, `test`, `predict` and the Python API all score a video with
`video_scores`, one view per forward, so the same video gets bit-identical scores from each.
"""

import platform
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from nonlocalnet.data.clips import ClipConfig, Views, to_input
from nonlocalnet.data.folder import Sample
from nonlocalnet.data.listed import SUFFIXES
from nonlocalnet.data.sets import TestVideos, video_target
from nonlocalnet.engine.metrics import mean_average_precision, top_k
from nonlocalnet.nn.probe import unnoticed

Combine = Literal["mean", "max"]
JITTER = "1-clip-jitter"


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """How a score came about; figures of unlike protocols are not comparable."""

    clips: int = 10
    """Clips per video, evenly spread."""
    crops: int = 1
    """1: the whole frame, fully convolutional (the paper). 3: three squares (released code)."""
    combine: Combine = "mean"
    """Of a video's views: the mean, or the largest score of each class."""
    jitter: bool = False
    """One clip of one crop with the random start, size, place and mirror of training instead
    (the validation of Figure 4)."""
    seed: int = 0
    """Of that clip, with the video's place in its set."""

    @classmethod
    def parse(cls, text: str, combine: Combine = "mean", seed: int = 0) -> "Protocol":
        """From the short name of its views.

        Raises:
            ValueError: Neither CLIPSxCROPS nor 1-clip-jitter; `combine` neither mean nor max.

        Example:
            >>> Protocol.parse("10x3") == Protocol(clips=10, crops=3)
            True
            >>> str(Protocol.parse("1-clip-jitter"))
            '1-clip-jitter'
        """
        if combine not in get_args(Combine):
            raise ValueError(f"combine must be one of {', '.join(get_args(Combine))}: {combine!r}")
        if text == JITTER:
            return cls(clips=1, combine=combine, jitter=True, seed=seed)
        clips, _, crops = text.partition("x")
        if not (clips.isdigit() and int(clips) > 0 and crops in ("1", "3")):
            raise ValueError(
                f"views must be CLIPSx1 (whole frame) or CLIPSx3 (three crops), as 10x1, or "
                f"{JITTER}; got {text!r}"
            )
        return cls(clips=int(clips), crops=int(crops), combine=combine)

    def __str__(self) -> str:
        return JITTER if self.jitter else f"{self.clips}x{self.crops}"

    @property
    def views(self) -> tuple[int, int] | None:
        """As `data.clips.video_views` takes them."""
        return None if self.jitter else (self.clips, self.crops)

    def stamp(self, config: ClipConfig) -> str:
        """What stands behind the @ of a metric: views, px, and the rule where it is not the mean.

        Example:
            >>> Protocol(combine="max").stamp(ClipConfig())
            '10x1x256-max'
        """
        size = config.crop if self.jitter else config.test_short_side
        return f"{self}x{size}{'' if self.combine == 'mean' else f'-{self.combine}'}"

    def describe(self, config: ClipConfig, multi_label: bool) -> dict[str, Any]:
        """Its part of results.json."""
        seen = "whole frame" if self.crops == 1 else "three squares"
        rule = "over views" if self.combine == "mean" else "the largest over views"
        return {
            "views": str(self),
            "scores": f"{'sigmoid' if multi_label else 'softmax'} per location, "
            f"mean over locations, then {rule}",
            **asdict(config),
            # In place of the training crop, which a test on whole frames never makes.
            "crop": f"random square of {config.crop} px" if self.jitter else seen,
            "clip_starts": "random" if self.jitter else config.start_rule,
            **({"seed": self.seed} if self.jitter else {}),
        }


@torch.no_grad()
def video_scores(
    model: nn.Module,
    views: Views,
    config: ClipConfig,
    multi_label: bool = False,
    combine: Combine = "mean",
) -> Tensor:
    """Scores (classes,): softmax at each location, averaged over locations, then over views.

    Args:
        model: In eval mode; takes (1, 3, T, H, W), and `dense=True`.
        views: All views of one video.
        config: Normalises the pixels.
        multi_label: A sigmoid for each class instead of the softmax (Sec. 5.2).
        combine: "max" takes the largest score of each class over the views instead of the mean.
    """
    device = next(model.parameters()).device
    scores = torch.stack(
        [
            view_scores(model, torch.from_numpy(view).to(device), config, multi_label)
            for view in views
        ]
    )
    return scores.mean(0) if combine == "mean" else scores.amax(0)


@torch.no_grad()
def view_scores(
    model: nn.Module, view: Tensor, config: ClipConfig, multi_label: bool = False
) -> Tensor:
    """Scores (classes,) of one view (T, H, W, 3) uint8, fully convolutional (Sec. 4.1)."""
    logits = model(to_input(view[None], config), dense=True).float()
    return (logits.sigmoid() if multi_label else logits.softmax(1)).mean((0, 2, 3, 4))


@dataclass(frozen=True, kw_only=True)
class VideoResult:
    """What the test found for one video of one label."""

    path: str
    label: str
    predicted: str
    rank: int
    """Of the true label, 0 = first."""
    scores: list[float]


def run_test(
    model: nn.Module,
    labels: Sequence[str],
    samples: Sequence[Sample],
    config: ClipConfig,
    protocol: Protocol,
    *,
    workers: int = 1,
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> dict[str, Any]:
    """Tests every video and returns the content of results.json.

    Where videos may have several labels, `coverage` and `classes` say what mAP is the mean of; no
    video with a label leaves `metrics` empty (a test set whose labels are kept back).

    Args:
        model: The network.
        labels: Class names in the order of the logits.
        samples: Labelled videos; those of a set of several labels have actions and no label.
        config: Clip and preprocessing.
        protocol: Views per video.
        workers: Processes that decode ahead.
        progress: Called with (videos done, videos in all).

    Raises:
        ValueError: Not one of the videos could be read.
    """
    multi_label = any(sample.label is None for sample in samples)
    loader = DataLoader(
        TestVideos(samples, config, protocol.views, protocol.seed),
        batch_size=None,
        num_workers=workers,
    )
    tested: list[Sample] = []
    found: list[Tensor] = []
    faults: list[str] = []
    with unnoticed(model):
        for done, (index, views, fault) in enumerate(loader):
            if views is None:
                faults.append(fault)
            else:
                scores = video_scores(model, views, config, multi_label, protocol.combine)
                tested.append(samples[index])
                found.append(scores.cpu())
            progress(done + 1, len(samples))
    if not tested:
        raise ValueError(f"none of {len(samples)} videos could be read; first: {faults[0]}")
    judge = _several_labels if multi_label else _one_label
    figures, judged = judge(torch.stack(found), labels, tested)
    stamp = protocol.stamp(config)
    return {
        "metrics": {f"{name}@{stamp}": value for name, value in figures.items()},
        "protocol": {
            **protocol.describe(config, multi_label),
            "decoder": ", ".join(sorted({sample.video.reader for sample in samples})),
            "torch": torch.__version__,
            "machine": platform.machine(),
            "evaluated": len(tested),
            "missing": len(faults),
        },
        "labels": list(labels),
        "faults": faults,
        **judged,
    }


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


def _one_label(
    scores: Tensor, labels: Sequence[str], samples: Sequence[Sample]
) -> tuple[dict[str, float], dict[str, Any]]:
    """(figures, what else results.json has of the videos); scores are (videos, classes)."""
    numbers = [sample.label for sample in samples if sample.label is not None]
    videos = []
    for row, number, sample in zip(scores, numbers, samples, strict=True):
        order = row.argsort(descending=True, stable=True).tolist()
        result = VideoResult(
            path=str(sample.video.path),
            label=labels[number],
            predicted=labels[int(order[0])],
            rank=order.index(number),
            scores=[float(f"{score:.7g}") for score in row.tolist()],
        )
        videos.append(asdict(result))
    figures = {f"top{k}": top_k(scores, numbers, k) for k in (1, 5) if k < len(labels)}
    return figures, {"videos": videos}


def _several_labels(
    scores: Tensor, labels: Sequence[str], samples: Sequence[Sample]
) -> tuple[dict[str, float], dict[str, Any]]:
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
                "scores": [float(f"{score:.9g}") for score in row.tolist()],  # exact
            }
            for sample, target, row in rows
        ],
    }
