"""The small-data recipe: a folder of short clips, one laptop, no pre-trained weights.

The network, the clip and the schedule are smaller than the paper's; the code is the same.
"""

import re
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
import yaml

from nonlocalnet.data.clips import ClipConfig, by_time
from nonlocalnet.data.folder import VideoFolder
from nonlocalnet.data.sets import TestVideos, TrainClips
from nonlocalnet.engine.training import train
from nonlocalnet.models.resnet import VideoResNet
from nonlocalnet.models.zoo import build
from nonlocalnet.recipes.config import SmallRecipe
from nonlocalnet.weights.file import write_atomically

FLIP_UNSAFE = re.compile(r"left|right|clockwise", re.IGNORECASE)


def clip_config(folder: VideoFolder, recipe: SmallRecipe) -> ClipConfig:
    """The clip of a recipe on a folder: stride and mirroring chosen where it leaves them open.

    Raises:
        ValueError: One of seconds and fps without the other, or with a stride.
    """
    if recipe.seconds is None and recipe.fps is None:
        lengths = sorted(sample.video.frames for sample in folder.splits["train"])
        # The rest of the video leaves room to draw clips from, and for the test's ten to differ.
        median = lengths[len(lengths) // 2]
        stride = recipe.stride or max(1, min(8, round(0.75 * median / recipe.frames)))
        times: dict[str, Any] = {"frames": recipe.frames, "stride": stride}
    elif recipe.seconds is None or recipe.fps is None or recipe.stride:
        raise ValueError(
            f"a clip is given by frames and stride or by seconds and fps, got "
            f"stride={recipe.stride}, seconds={recipe.seconds} and fps={recipe.fps}"
        )
    else:
        times = by_time(recipe.seconds, recipe.fps)
    flip = recipe.flip
    if flip is None:
        flip = not any(FLIP_UNSAFE.search(label) for label in folder.labels)
    return ClipConfig(
        **times,
        short=recipe.short,
        crop=recipe.crop,
        short_side=(recipe.crop, int(recipe.crop * recipe.jitter)),
        test_short_side=recipe.crop,  # one window per frame: the last map has a cell per 32 px
        flip=flip,
    )


def run_small(
    folder: VideoFolder,
    recipe: SmallRecipe,
    out: Path,
    *,
    workers: int = 1,
    say: Callable[[str], None] = print,
    progress: bool = True,
) -> VideoResNet:
    """Trains by the recipe and leaves the run folder complete; goes on where last.ckpt stands.

    Raises:
        ValueError: A setting that cannot be, a run folder of other settings, or a set of several
            labels per video.
    """
    if folder.multi_label:
        raise ValueError(
            "this set may have several labels per video, and this training gives each one; "
            "give a set with one label per video"
        )
    clip = clip_config(folder, recipe)
    samples = folder.splits["train"]
    epochs = recipe.epochs or max(32, min(200, 800 * recipe.batch // len(samples)))
    steps = max(2, epochs * len(samples) // recipe.batch)
    watched = folder.splits["val"] or folder.splits["test"]
    _write_config(out, recipe, clip)
    kind = "validation" if folder.splits["val"] else "test"
    say(
        f"{len(samples)} training and {len(watched)} {kind}"
        f" videos of {len(folder.labels)} classes, split by {folder.split_by}"
    )
    say(
        f"{recipe.model}: clips of {clip.frames} frames, every {_nth(clip.stride)} kept"
        f"{f' at {clip.fps:g} fps' if clip.fps else ''}, "
        f"{clip.crop} px, mirrored: {'half' if clip.flip else 'no'}; {epochs} epochs, {steps} steps"
    )
    block: dict[str, Any] = {"scale": recipe.scale} if recipe.model.startswith("nl") else {}
    torch.manual_seed(recipe.seed)
    model = build(
        recipe.model,
        len(folder.labels),
        head_window=_window(recipe),
        width=recipe.width or None,
        **block,
    )
    return train(
        model,
        TrainClips(samples, clip, recipe.seed),
        TestVideos(watched, clip, (1, 1)),
        out,
        labels=folder.labels,
        choose_best=bool(folder.splits["val"]),
        steps=steps,
        batch=recipe.batch,
        lr=recipe.lr,
        optimizer=recipe.optimizer,
        weight_decay=recipe.weight_decay,
        warmup=min(steps // 10, 50),
        validate_every=max(1, steps // 4),
        checkpoint_every=max(1, min(100, steps // 5)),
        workers=workers,
        max_bad=recipe.max_bad,
        left_out=folder.bad,
        seed=recipe.seed,
        progress=progress,
    )


def _window(recipe: SmallRecipe) -> int:
    """Cells of the last map under a training crop: every network here has stride 32."""
    return max(1, recipe.crop // 32)


def _nth(stride: int) -> str:
    return "frame" if stride == 1 else f"{stride}{('nd', 'rd')[stride - 2] if stride < 4 else 'th'}"


def _write_config(out: Path, recipe: SmallRecipe, clip: ClipConfig) -> None:
    text = yaml.safe_dump({"recipe": asdict(recipe), "clip": asdict(clip)})
    file = out / "config.yaml"
    if (out / "last.ckpt").exists() and file.exists() and file.read_text(encoding="utf-8") != text:
        raise ValueError(
            f"{file}: this run has other settings than those given now; "
            "resume with the same, or choose another folder with --out"
        )
    write_atomically(file, text.encode())
