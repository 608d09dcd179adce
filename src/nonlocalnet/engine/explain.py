"""Where a network looks: the places one position attends to most (Figures 1 and 3).

The network is run as it is, once per clip. Temporary hooks read what enters its non-local blocks,
only the row of the chosen position is computed from that, and cells are mapped back to frames and
pixels through every stride, padding and pooling on the way.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from nonlocalnet.data.clips import clips_around, to_input
from nonlocalnet.data.video import Video, open_video, read_frames
from nonlocalnet.engine.cells import Place, cell_maps, place
from nonlocalnet.engine.classifier import Classifier
from nonlocalnet.engine.testing import clip_scores
from nonlocalnet.models.resnet import VideoResNet
from nonlocalnet.nn.block import NonLocalBlock
from nonlocalnet.nn.inference import OVERWRITTEN, FoldedBlock
from nonlocalnet.nn.probe import run_watched

SUFFIX = ".nonlocal_block"
At = tuple[float, float, float]
"""Seconds, x px and y px in a video, upright."""


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
    block: str | Sequence[str] | None = None,
    top: int = 20,
) -> list[Look]:
    """The places that one position of a clip attends to most, for one block or for several.

    Args:
        model: Any network of ours with a non-local block; left as it was.
        clip: Network input, (1, 3, T, H, W).
        at: Frame of the clip, y and x in px of the input.
        block: See `choose_blocks`.
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
    hosts = choose_blocks(model, block)
    maps = cell_maps(model)
    looks = []
    for host, (module, x) in block_inputs(model, clip, hosts).items():
        cell = maps[host].to_cell(at, x.shape[2:])
        with torch.no_grad():
            row = module.weights(x, torch.from_numpy(cell)[None].to(x.device))[0, 0].cpu().numpy()
        centres = maps[host].to_input(module.key_centres(x.shape[2:]).cpu().numpy())
        looks.append(_look(host, place(maps[host].to_input(cell)), row, centres, top))
    return looks


def choose_blocks(model: nn.Module, block: str | Sequence[str] | None = None) -> list[str]:
    """The residual blocks whose non-local blocks are asked for.

    Args:
        model: Any network of ours.
        block: Names such as "res3.1", one or several; "all"; None takes the last one in res3, as
            Figure 3 does, or the first there is.

    Raises:
        ValueError: The network has no such block, or is optimized.
    """
    if any(isinstance(module, FoldedBlock) for module in model.modules()):
        raise ValueError(OVERWRITTEN)
    hosts = [
        name.removesuffix(SUFFIX)
        for name, module in model.named_modules()
        if isinstance(module, NonLocalBlock) and name.endswith(SUFFIX)
    ]
    if not hosts:
        raise ValueError("this network has no non-local block to look through; train an nl1_ one")
    if block is None:
        return [next((name for name in reversed(hosts) if name.startswith("res3.")), hosts[0])]
    if block == "all":
        return hosts
    asked = [name.removesuffix(SUFFIX) for name in ([block] if isinstance(block, str) else block)]
    for name in asked:
        if name not in hosts:
            raise ValueError(f"no non-local block at {name!r}; there are: {', '.join(hosts)}")
    return list(dict.fromkeys(asked))


def block_inputs(
    model: nn.Module, clip: Tensor, hosts: Sequence[str]
) -> dict[str, tuple[NonLocalBlock, Tensor]]:
    """The non-local block of each host with what enters it, from one run of the network."""
    modules: dict[nn.Module, str] = {model.get_submodule(h + SUFFIX): h for h in hosts}
    seen: dict[str, tuple[NonLocalBlock, Tensor]] = {}

    def keep(module: nn.Module, inputs: tuple[Tensor, ...], _: Tensor) -> None:
        assert isinstance(module, NonLocalBlock)
        seen[modules[module]] = module, inputs[0]

    run_watched(model, clip, modules, keep)
    return {host: seen[host] for host in hosts}


def _look(host: str, query: Place, row: np.ndarray, centres: np.ndarray, top: int) -> Look:
    best = np.argsort(-row, axis=None, kind="stable")[:top]
    return Look(
        block=host,
        query=query,
        keys=centres.reshape(-1, 3)[best],
        weights=row.ravel()[best],
        row=row,
        centres=centres,
    )


def mean_look(looks: Sequence[Look], shifts: Sequence[int], stride: float, top: int) -> Look:
    """The mean of one block's looks over clips that start `shifts` frames after the first one.

    Args:
        looks: One for each clip, from the same position of the video.
        shifts: Frames, multiples of `stride`, so that the keys of all clips lie on one grid.
        stride: Frames from one key to the next.
        top: How many of the strongest keys to return.
    """
    steps = [round(shift / stride) for shift in shifts]
    frames, *grid = looks[0].row.shape
    row = np.zeros((frames + max(steps), *grid))
    centres = np.zeros((*row.shape, 3))
    for each, step, shift in zip(looks, steps, shifts, strict=True):
        row[step : step + frames] += each.row / len(looks)
        centres[step : step + frames] = each.centres + np.array((shift, 0, 0))
    first = looks[0]
    frame, y, x = first.query
    return _look(first.block, (frame + shifts[0], y, x), row, centres, top)


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """A look into one video: `explain`'s answer, in the video's seconds and px."""

    path: Path
    label: str
    """The best label of the clip that was looked at, or of the clips on average."""
    score: float
    clips: int
    """How many clips the looks are the mean of."""
    frames: np.ndarray = field(repr=False)  # (T, H, W, 3) uint8
    """What the network saw of the video, all clips together."""
    seconds: np.ndarray  # (T,)
    """When each of its frames is shown."""
    scale: tuple[float, float]
    """Input px per px of the video, in y and x."""
    looks: list[Look]
    """One for each block asked for."""

    @property
    def look(self) -> Look:
        """The first."""
        return self.looks[0]

    def to_video(self, place: Sequence[float]) -> At:
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
            "clips": self.clips,
            "looks": [
                {
                    "block": look.block,
                    "from": self.to_video(look.query),
                    "to": [
                        {"at": self.to_video(key), "weight": float(weight)}
                        for key, weight in zip(look.keys, look.weights, strict=True)
                    ],
                }
                for look in self.looks
            ],
        }


def explain(
    classifier: Classifier,
    path: str | Path,
    at: At | None = None,
    *,
    block: str | Sequence[str] | None = None,
    top: int = 20,
    clips: int = 1,
    reader: str | None = None,
) -> Explanation:
    """Where a trained network looks in a video, from one position.

    Args:
        classifier: From `load`.
        path: The video.
        at: Seconds, x px and y px in the video, upright; None takes its middle.
        block: See `choose_blocks`.
        top: See `look`.
        clips: Average the weights over so many clips that hold the position, as far as the video
            has room for them.
        reader: See `open_video`.

    Raises:
        BadVideo: The file cannot be read.
        ValueError: The position lies outside the video, no clip, or see `look`.
    """
    if clips < 1:
        raise ValueError(f"clips must be 1 or more, got {clips}")
    video = open_video(path, reader)
    at = inside(video, at)
    config, model = classifier.clip, classifier.model
    hosts = choose_blocks(model, block)
    maps = cell_maps(model)
    apart = round(max(maps[host].stride[0] for host in hosts))
    times = video.seconds  # read from the file
    here = int(np.abs(times - at[0]).argmin())
    numbers, shifts = clips_around(video, here, config, clips, apart)
    frames = read_frames(video, numbers, config.test_short_side)
    scale = frames.shape[1] / video.height, frames.shape[2] / video.width
    down, right = to_px(at, scale, frames.shape[1:3])
    frame = int(np.abs(times[numbers] - at[0]).argmin())
    device = next(model.parameters()).device
    found: list[list[Look]] = []
    scores = []
    for shift in shifts:
        seen = torch.from_numpy(frames[shift : shift + config.frames])[None].to(device)
        scores.append(clip_scores(model, seen, config, classifier.multi_label)[0])
        position = (frame - shift, down, right)
        found.append(look(model, to_input(seen, config), position, block=hosts, top=top))
    mean = torch.stack(scores).mean(0)
    best = int(mean.argmax())
    return Explanation(
        path=Path(path),
        label=classifier.labels[best],
        score=float(mean[best]),
        clips=len(shifts),
        frames=frames,
        seconds=times[numbers],
        scale=scale,
        looks=[
            mean_look(each, shifts, maps[each[0].block].stride[0], top)
            for each in zip(*found, strict=True)
        ],
    )


def inside(video: Video, at: At | None) -> At:
    """The position, or the video's middle.

    Raises:
        ValueError: It lies outside the video.
    """
    if at is None:
        return float(video.seconds[video.frames // 2]), video.width / 2, video.height / 2
    t, x, y = at
    end = float(video.seconds[-1]) + 1 / video.fps
    if not (0 <= t <= end and 0 <= x < video.width and 0 <= y < video.height):
        raise ValueError(
            f"{video.path}: position t,x,y = {t:g},{x:g},{y:g} lies outside the video: "
            f"{end:.2f} s of {video.width}x{video.height} px"
        )
    return at


def to_px(at: At, scale: tuple[float, float], size: Sequence[int]) -> tuple[float, float]:
    """The y and x of a position in px of the resized frames of this (height, width)."""
    down, right = (
        min(max((value + 0.5) * s - 0.5, 0.0), length - 1.0)
        for value, s, length in zip((at[2], at[1]), scale, size, strict=True)
    )
    return down, right
