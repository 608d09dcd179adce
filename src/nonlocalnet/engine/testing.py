"""The test of Sec. 4.1: evenly spread clips, whole frames, the mean of their softmax scores.

Training-time validation, `test`, `predict` and the Python API all score a video with
`video_scores`, one view per forward, so the same video gets bit-identical scores from each.
"""

import platform
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from nonlocalnet.data.clips import ClipConfig, Views, to_input
from nonlocalnet.data.folder import Sample
from nonlocalnet.data.sets import TestVideos
from nonlocalnet.nn.probe import unnoticed


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """How a score came about; figures of unlike protocols are not comparable."""

    clips: int = 10
    """Clips per video, evenly spread."""
    crops: int = 1
    """1: the whole frame, fully convolutional (the paper). 3: three squares (released code)."""

    @classmethod
    def parse(cls, text: str) -> "Protocol":
        """From its short name.

        Raises:
            ValueError: Not CLIPSxCROPS.

        Example:
            >>> Protocol.parse("10x3")
            Protocol(clips=10, crops=3)
        """
        clips, _, crops = text.partition("x")
        if not (clips.isdigit() and int(clips) > 0 and crops in ("1", "3")):
            raise ValueError(
                f"views must be CLIPSx1 (whole frame) or CLIPSx3 (three crops), "
                f"as 10x1; got {text!r}"
            )
        return cls(clips=int(clips), crops=int(crops))

    def __str__(self) -> str:
        return f"{self.clips}x{self.crops}"


@torch.no_grad()
def video_scores(model: nn.Module, views: Views, config: ClipConfig) -> Tensor:
    """Scores (classes,): softmax at each location, averaged over locations, then over views.

    Args:
        model: In eval mode; takes (1, 3, T, H, W), and `dense=True`.
        views: All views of one video.
        config: Normalises the pixels.
    """
    device = next(model.parameters()).device
    scores = [view_scores(model, torch.from_numpy(view).to(device), config) for view in views]
    return torch.stack(scores).mean(0)


@torch.no_grad()
def view_scores(model: nn.Module, view: Tensor, config: ClipConfig) -> Tensor:
    """Scores (classes,) of one view (T, H, W, 3) uint8, fully convolutional (Sec. 4.1)."""
    logits = model(to_input(view[None], config), dense=True)
    return logits.float().softmax(1).mean((0, 2, 3, 4))


@dataclass(frozen=True, kw_only=True)
class VideoResult:
    """What the test found for one video."""

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

    Args:
        model: The network.
        labels: Class names in the order of the logits.
        samples: Labelled videos.
        config: Clip and preprocessing.
        protocol: Views per video.
        workers: Processes that decode ahead.
        progress: Called with (videos done, videos in all).

    Raises:
        ValueError: Not one of the videos could be read, or they have several labels each.
    """
    several = next((s for s in samples if s.label is None), None)
    if several:
        raise ValueError(
            f"{several.video.path} may have several labels, and this test ranks one per video; "
            "give a set with one label per video"
        )
    loader = DataLoader(
        TestVideos(samples, config, (protocol.clips, protocol.crops)),
        batch_size=None,
        num_workers=workers,
    )
    videos: list[VideoResult] = []
    faults: list[str] = []
    with unnoticed(model):
        for done, (index, views, fault) in enumerate(loader):
            if views is None:
                faults.append(fault)
            else:
                scores = video_scores(model, views, config)
                videos.append(_result(scores, labels, samples[index]))
            progress(done + 1, len(samples))
    if not videos:
        raise ValueError(f"none of {len(samples)} videos could be read; first: {faults[0]}")
    return {
        "metrics": _metrics(videos, protocol, config, len(labels)),
        "protocol": {
            "views": str(protocol),
            "crop": "whole frame" if protocol.crops == 1 else "three squares",
            "scores": "softmax per location, mean over locations, then over views",
            **asdict(config),
            "clip_starts": config.start_rule,
            "decoder": ", ".join(sorted({sample.video.reader for sample in samples})),
            "torch": torch.__version__,
            "machine": platform.machine(),
            "evaluated": len(videos),
            "missing": len(faults),
        },
        "labels": list(labels),
        "faults": faults,
        "videos": [asdict(video) for video in videos],
    }


def _result(scores: Tensor, labels: Sequence[str], sample: Sample) -> VideoResult:
    assert sample.label is not None  # run_test has looked
    order = scores.argsort(descending=True, stable=True).tolist()
    return VideoResult(
        path=str(sample.video.path),
        label=labels[sample.label],
        predicted=labels[int(order[0])],
        rank=order.index(sample.label),
        scores=[float(f"{score:.7g}") for score in scores.tolist()],
    )


def _metrics(
    videos: Sequence[VideoResult], protocol: Protocol, config: ClipConfig, classes: int
) -> dict[str, float]:
    stamp = f"{protocol}x{config.test_short_side}"
    ranks = [video.rank for video in videos]
    return {
        f"top{k}@{stamp}": sum(rank < k for rank in ranks) / len(ranks)
        for k in (1, 5)
        if k < classes
    }
