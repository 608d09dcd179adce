"""Where a network looks: the places one position attends to most (Figures 1 and 3).

The network is run as it is, once. A temporary hook reads what enters one non-local block, only the
row of the chosen position is computed from it, and cells are mapped back to frames and pixels
through every stride, padding and pooling on the way.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from nonlocalnet.data.clips import clip_around, to_input
from nonlocalnet.data.video import open_video, read_frames
from nonlocalnet.engine.cells import Place, cell_maps, place
from nonlocalnet.engine.classifier import Classifier
from nonlocalnet.engine.testing import clip_scores
from nonlocalnet.models.resnet import VideoResNet
from nonlocalnet.nn.block import NonLocalBlock
from nonlocalnet.nn.probe import run_watched


@dataclass(frozen=True, kw_only=True)
class Look:
    """What one position attends to. A place is (frame of the clip, y, x), y and x in input px."""

    block: str
    """The residual block whose non-local block was read."""
    query: Place
    """The centre of the feature cell that holds the position asked for."""
    keys: np.ndarray  # (top, 3) float: frame, y, x
    """Centres of the strongest keys, strongest first."""
    weights: np.ndarray = field(repr=False)  # (top,) float
    """Their weights f(x_i, x_j) / C(x)."""
    row: np.ndarray = field(repr=False)  # (T', H', W') float
    """All weights of the position, over the grid of keys."""
    centres: np.ndarray = field(repr=False)  # (T', H', W', 3) float
    """Where those keys lie."""


def look(
    model: VideoResNet,
    clip: Tensor,
    at: Place,
    *,
    block: str | None = None,
    top: int = 20,
) -> Look:
    """The places that one position of a clip attends to most.

    Args:
        model: Any network of ours with a non-local block; left as it was.
        clip: Network input, (1, 3, T, H, W).
        at: Frame of the clip, y and x in px of the input.
        block: A residual block with a non-local block, such as "res3.1"; None takes the last one
            in res3, as Figure 3 does, or the first there is.
        top: How many of the strongest keys to return.

    Raises:
        ValueError: The network has no such block, or the position lies outside the clip.
    """
    if clip.ndim != 5 or clip.shape[0] != 1:
        raise ValueError(f"a look takes one clip (1, 3, T, H, W), got {tuple(clip.shape)}")
    if top < 1:
        raise ValueError(f"top must be 1 or more, got {top}")
    if not all(0 <= value < size for value, size in zip(at, clip.shape[2:], strict=True)):
        raise ValueError(
            f"position (frame, y, x) = {tuple(at)} lies outside the clip: "
            f"{clip.shape[2]} frames of {clip.shape[3]}x{clip.shape[4]} px, counted from 0"
        )
    host = _choose(model, block)
    module = model.get_submodule(f"{host}.nonlocal_block")
    assert isinstance(module, NonLocalBlock)
    seen: list[Tensor] = []
    run_watched(model, clip, [module], lambda _, inputs, __: seen.append(inputs[0]))
    (x,) = seen
    cells = cell_maps(model)[host]
    cell = cells.to_cell(at, x.shape[2:])
    with torch.no_grad():
        row = module.weights(x, torch.from_numpy(cell)[None].to(x.device))[0, 0].cpu()
    centres = cells.to_input(module.key_centres(x.shape[2:]).cpu().numpy())
    best = row.flatten().argsort(descending=True, stable=True)[:top]
    return Look(
        block=host,
        query=place(cells.to_input(cell)),
        keys=centres.reshape(-1, 3)[best.numpy()],
        weights=row.flatten()[best].numpy(),
        row=row.numpy(),
        centres=centres,
    )


def _choose(model: nn.Module, block: str | None) -> str:
    """The residual block that owns the non-local block asked for."""
    suffix = ".nonlocal_block"
    hosts = [
        name.removesuffix(suffix)
        for name, module in model.named_modules()
        if isinstance(module, NonLocalBlock) and name.endswith(suffix)
    ]
    if not hosts:
        raise ValueError("this network has no non-local block to look through; train an nl1_ one")
    if block is None:
        return next((name for name in reversed(hosts) if name.startswith("res3.")), hosts[0])
    if block.removesuffix(suffix) not in hosts:
        raise ValueError(f"no non-local block at {block!r}; there are: {', '.join(hosts)}")
    return block.removesuffix(suffix)


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """A look into one video: `explain`'s answer, in the video's seconds and px."""

    path: Path
    label: str
    """The best label of the clip that was looked at."""
    score: float
    frames: np.ndarray = field(repr=False)  # (T, H, W, 3) uint8
    """The clip as the network saw it."""
    seconds: np.ndarray  # (T,)
    """When each of its frames is shown."""
    scale: tuple[float, float]
    """Input px per px of the video, in y and x."""
    look: Look

    def to_video(self, place: Sequence[float]) -> tuple[float, float, float]:
        """(frame, y, x) of the input -> (seconds, x px, y px) of the video."""
        frame, y, x = place
        t = float(np.interp(frame, np.arange(len(self.seconds)), self.seconds))
        # The centre of pixel 0 is 0, so that scaling moves centres by half a pixel.
        down, right = ((v + 0.5) / s - 0.5 for v, s in zip((y, x), self.scale, strict=True))
        return round(t, 3), round(right, 1), round(down, 1)

    def describe(self) -> str:
        """One sentence for people."""
        t, x, y = self.to_video(self.look.query)
        there = self.to_video(self.look.keys[0])
        return (
            f"{self.path}: {self.label} ({self.score:.0%}); from {t:.2f} s, ({x:.0f}, {y:.0f}) px "
            f"{self.look.block} looks most at {there[0]:.2f} s, ({there[1]:.0f}, {there[2]:.0f}) "
            f"px with weight {self.look.weights[0]:.3f}"
        )

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON; places are [seconds, x px, y px]."""
        return {
            "path": str(self.path),
            "label": self.label,
            "score": self.score,
            "block": self.look.block,
            "from": self.to_video(self.look.query),
            "to": [
                {"at": self.to_video(key), "weight": float(weight)}
                for key, weight in zip(self.look.keys, self.look.weights, strict=True)
            ],
        }


def explain(
    classifier: Classifier,
    path: str | Path,
    at: tuple[float, float, float] | None = None,
    *,
    block: str | None = None,
    top: int = 20,
    reader: str | None = None,
) -> Explanation:
    """Where a trained network looks in a video, from one position.

    Args:
        classifier: From `load`.
        path: The video.
        at: Seconds, x px and y px in the video, upright; None takes its middle.
        block: See `look`.
        top: See `look`.
        reader: See `open_video`.

    Raises:
        BadVideo: The file cannot be read.
        ValueError: The position lies outside the video, or see `look`.
    """
    video = open_video(path, reader)
    if at is None:
        at = (float(video.seconds[video.frames // 2]), video.width / 2, video.height / 2)
    t, x, y = at
    end = float(video.seconds[-1]) + 1 / video.fps
    if not (0 <= t <= end and 0 <= x < video.width and 0 <= y < video.height):
        raise ValueError(
            f"{path}: position t,x,y = {t:g},{x:g},{y:g} lies outside the video: "
            f"{end:.2f} s of {video.width}x{video.height} px"
        )
    config = classifier.clip
    numbers = clip_around(video, int(np.abs(video.seconds - t).argmin()), config)
    frames = read_frames(video, numbers, config.test_short_side)
    clip = torch.from_numpy(frames)
    scale = frames.shape[1] / video.height, frames.shape[2] / video.width
    inside = [
        min(max((value + 0.5) * s - 0.5, 0.0), size - 1.0)
        for value, s, size in zip((y, x), scale, frames.shape[1:3], strict=True)
    ]
    frame = int(np.abs(video.seconds[numbers] - t).argmin())
    device = next(classifier.model.parameters()).device
    scores = clip_scores(classifier.model, clip[None].to(device), config, classifier.multi_label)[0]
    best = int(scores.argmax())
    return Explanation(
        path=Path(path),
        label=classifier.labels[best],
        score=float(scores[best]),
        frames=frames,
        seconds=video.seconds[numbers],
        scale=scale,
        look=look(
            classifier.model,
            to_input(clip[None].to(device), config),
            (frame, inside[0], inside[1]),
            block=block,
            top=top,
        ),
    )
