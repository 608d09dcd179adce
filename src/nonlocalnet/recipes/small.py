"""The small-data recipe: a folder of short clips, one laptop, with or without pre-trained weights.

The network, the clip and the schedule are smaller than the paper's; the code is the same.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from nonlocalnet.data.clips import ClipConfig, by_time
from nonlocalnet.data.folder import VideoFolder
from nonlocalnet.engine.classifier import clip_of
from nonlocalnet.models.resnet import VideoResNet
from nonlocalnet.recipes.config import Machine, SmallRecipe
from nonlocalnet.recipes.recipe import ModelConfig, Recipe, TestConfig, TrainConfig
from nonlocalnet.recipes.run import run
from nonlocalnet.recipes.scaled import nth
from nonlocalnet.recipes.start import read_weights, weights_file
from nonlocalnet.weights.describe import describe
from nonlocalnet.weights.file import is_ours, read
from nonlocalnet.weights.imagenet import IMAGENET, image_facts

FLIP_UNSAFE = re.compile(r"left|right|clockwise", re.IGNORECASE)


def small_recipe(folder: VideoFolder, small: SmallRecipe, out: Path) -> Recipe:
    """The full recipe that the few options, the data and the first weights come to.

    Args:
        folder: The data: stride, epochs and mirroring follow from it.
        small: What the user said.
        out: The run folder; `init` may name a run beside it.

    Raises:
        ValueError: Options that exclude each other, or first weights that cannot be read.
    """
    if small.batch < 1:
        raise ValueError(f"batch={small.batch} must be 1 clip or more")
    if small.epochs < 0:
        raise ValueError(f"epochs={small.epochs} must be 1 or more, or 0 to choose by the data")
    network, fed = _network(small, out)
    samples = folder.splits["train"]
    clip = _clip(folder, small, fed)
    epochs = small.epochs or max(32, min(100, 800 * small.batch // len(samples)))
    steps = max(2, epochs * len(samples) // small.batch)
    every = max(1, steps // max(1, small.validations))
    window = max(1, clip.crop // 32)  # cells of the last map under a crop: every stride is 32
    return Recipe(
        name="small",
        model=ModelConfig(
            **{
                "num_classes": len(folder.labels),
                "head_window": window,
                "checkpointing": small.checkpointing,
                **network,
            }
        ),
        clip=clip,
        train=TrainConfig(
            steps=steps,
            batch=small.batch,
            lr=small.lr or (0.001 if small.init else 0.003),
            schedule="cosine",
            warmup=min(steps // 10, 50),
            optimizer=small.optimizer,
            weight_decay=small.weight_decay,
            label_smoothing=small.label_smoothing,
            balanced=small.balanced,
            patience=small.patience,
            keep="best" if folder.splits["val"] else "last",
            validate_every=every,
            validation="1x1",
            checkpoint_every=max(1, min(100, steps // 5)),
            max_bad=small.max_bad,
            seed=small.seed,
        ),
        test=TestConfig(combine="max" if folder.multi_label else "mean"),
        init=small.init,
        multi_label=folder.multi_label,
    )


def run_small(
    folder: VideoFolder,
    small: SmallRecipe,
    out: Path,
    *,
    machine: Machine | None = None,
    say: Callable[[str], None] = print,
    progress: bool = True,
) -> VideoResNet:
    """Trains by the recipe and leaves the run folder complete; goes on where last.ckpt stands.

    Raises:
        ValueError: See `small_recipe` and `run`.
    """
    recipe = small_recipe(folder, small, out)
    clip, steps = recipe.clip, recipe.train.steps
    kind = "validation" if folder.splits["val"] else "test"
    samples = folder.splits["train"]
    say(
        f"{len(samples)} training and {len(folder.splits['val'] or folder.splits['test'])} {kind}"
        f" videos of {len(folder.labels)} classes, split by {folder.split_by}"
    )
    say(
        f"{recipe.model.name}: clips of {clip.frames} frames, every {nth(clip.stride)} kept"
        f"{f' at {clip.fps:g} fps' if clip.fps else ''}, "
        f"{clip.crop} px, mirrored: {'half' if clip.flip else 'no'}; "
        f"{round(steps * small.batch / len(samples))} epochs, {steps} steps"
    )
    return run(recipe, folder, out, machine=machine, say=say, progress=progress)


def _network(small: SmallRecipe, out: Path) -> tuple[dict[str, Any], Mapping[str, Any]]:
    """Fields of ModelConfig, and of ClipConfig as the first weights want it."""
    images = small.init == "imagenet"
    name = small.model or ("nl5_i3d_r50" if images else "nl1_i3d_tiny")
    own: dict[str, Any] = {"name": name, "width": small.width or None}
    if name.startswith("nl"):
        own["scale"] = "unit" if small.scale is None else small.scale
    if not small.init or images:
        return own, image_facts("").clip if images else {}
    file = weights_file(small.init, out)
    if is_ours(file):
        model, meta = read(file)
        clip = clip_of(meta)
        fed = {key: getattr(clip, key) for key in ("frames", "stride", "fps", "mean", "std")}
        return own if small.model else _same_network(model), fed
    tensors, facts = read_weights(file), image_facts(file.name)
    backbone = describe(tensors, IMAGENET, "")[0]["name"].rpartition("_")[2]
    return {
        **own,
        "name": small.model or f"nl5_i3d_{backbone}",
        "preset": facts.preset,
        "width": len(tensors["layer1.0.conv1.weight"]),
        "scale": "unit" if small.scale is None else small.scale,
        "more": dict(facts.build),
    }, facts.clip


def _same_network(model: VideoResNet) -> dict[str, Any]:
    """Fields of ModelConfig that build this network again, for other classes."""
    built = {key: value for key, value in model.config.items() if key != "num_classes"}
    if built.get("scale", 1.0) is None:
        built["scale"] = "unit"
    known = {field.name for field in fields(ModelConfig)}
    network = {key: value for key, value in built.items() if key in known}
    return {**network, "more": {key: value for key, value in built.items() if key not in known}}


def _clip(folder: VideoFolder, small: SmallRecipe, fed: Mapping[str, Any]) -> ClipConfig:
    """The clip: stride and mirroring chosen where nobody says."""
    frames = small.frames or fed.get("frames", 16)
    if small.seconds is None and small.fps is None:
        times: dict[str, Any] = {"frames": frames, "stride": small.stride}
        if not small.stride and not small.frames and "stride" in fed:
            times |= {"stride": fed["stride"], "fps": fed["fps"]}
        elif not small.stride:
            samples = folder.splits["train"]
            lengths = sorted(small.ticks or sample.video.frames for sample in samples)
            # The rest of the video leaves room to draw clips from, and for the test's to differ.
            median = lengths[len(lengths) // 2]
            times["stride"] = max(1, min(8, round(0.75 * median / frames)))
    elif small.seconds is None or small.fps is None or small.frames or small.stride:
        raise ValueError(
            f"a clip is given by frames and stride or by seconds and fps, got "
            f"frames={small.frames}, stride={small.stride}, seconds={small.seconds} and "
            f"fps={small.fps}"
        )
    else:
        times = by_time(small.seconds, small.fps)
    flip = small.flip
    if flip is None:
        flip = not any(FLIP_UNSAFE.search(label) for label in folder.labels)
    crop = small.crop or (112 if small.init else 64)
    return ClipConfig(
        **{key: fed[key] for key in ("mean", "std") if key in fed},
        **times,
        ticks=small.ticks or None,
        short=small.short,
        crop=crop,
        short_side=(crop, int(crop * small.jitter)),
        test_short_side=crop,  # one window per frame: the last map has a cell per 32 px
        warp=small.warp,
        shade=small.shade,
        flip=flip,
    )
