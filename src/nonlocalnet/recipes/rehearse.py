"""Rehearsals: each recipe at its full-size network, two training steps and the test of one view.

The videos are noise; the steps, the validation and the test are those of any run. A recipe that
begins where another one ends (Sec. 5.1, 5.2) begins there in its rehearsal too: that one is
rehearsed before it, and leaves its run folder.
"""

import resource
import sys
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from nonlocalnet.data.clips import ClipConfig
from nonlocalnet.data.folder import Sample, VideoFolder
from nonlocalnet.data.listed import Action
from nonlocalnet.data.video import open_video
from nonlocalnet.engine.classifier import load
from nonlocalnet.engine.logs import read_metrics
from nonlocalnet.engine.protocol import Protocol
from nonlocalnet.engine.testing import run_test
from nonlocalnet.recipes.config import Machine
from nonlocalnet.recipes.recipe import Recipe
from nonlocalnet.recipes.run import run
from nonlocalnet.recipes.tables import all_recipes

STEPS = 2
LONG = 64  # frames; a longer full clip's rehearsal works activations out again


@dataclass(frozen=True, kw_only=True)
class Rehearsal:
    """What a rehearsal came to."""

    recipe: str
    begins: str
    """Where the weights came from."""
    clip: tuple[int, int, int]
    """Frames, height and width in px of a training clip."""
    view: tuple[int, int, int]
    """The same of the test's view."""
    clips: int
    """Per step."""
    checkpointing: bool
    """Whether activations were worked out again in the backward pass, to store less."""
    parameters: int
    losses: tuple[float, ...]
    """Of the steps."""
    seconds: float
    """Of training (with its validation on one clip) and the test."""
    peak_gib: float
    """Most memory that the process ever held, rehearsals before this one included."""


def rehearse_all(recipes: Iterable[Recipe], full: bool = False) -> Iterator[Rehearsal]:
    """Rehearses recipes one by one, each in a process of its own (its memory is its own then).

    Args:
        recipes: Of `all_recipes()`.
        full: As for `rehearse`.

    Raises:
        ValueError: A rehearsal failed.
    """
    alone = get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=alone, max_tasks_per_child=1) as pool:
        for recipe in recipes:
            with TemporaryDirectory() as runs:
                try:
                    yield pool.submit(rehearse, recipe, Path(runs), full).result()
                except BrokenProcessPool:
                    raise ValueError(
                        f"{recipe.name}: the rehearsal's process was ended from outside, perhaps "
                        "for want of memory; free some, or leave out --full"
                    ) from None


def rehearse(recipe: Recipe, runs: Path, full: bool = False) -> Rehearsal:
    """Runs two steps of a recipe and tests one view of what they leave.

    Args:
        recipe: One of `all_recipes()`.
        runs: Gets its run folder, and those of the recipes before it.
        full: Clips of the recipe's own size, one per step; or else two smaller ones. What comes
            before the recipe is rehearsed on smaller ones in any case.

    Raises:
        ValueError: The weights do not fit, or a loss, a gradient or a score is not finite.
    """
    before = all_recipes().get(recipe.init)
    if before:
        rehearse(before, runs)
    clip = recipe.clip if full else reduced(recipe.clip)
    clips = 1 if full else 2
    checkpointing = full and clip.frames > LONG
    smaller = replace(
        recipe,
        model=replace(recipe.model, checkpointing=checkpointing),
        clip=clip,
        init=before.name if before else "",  # rather than fetch what ImageNet taught
    )
    data = _noise(smaller, clips)
    out = runs / recipe.name
    began = time.perf_counter()
    run(
        smaller,
        data,
        out,
        machine=Machine(max_steps=STEPS, workers=0),
        batch=clips,
        say=lambda sentence: None,
        progress=False,
    )
    trained = load(out)
    protocol = Protocol.parse("1x1", recipe.test.combine)
    samples = data.splits["test"]
    run_test(trained.model, trained.labels, samples, trained.clip, protocol, workers=0)
    height, width = samples[0].video.height, samples[0].video.width  # of the test's shorter side
    return Rehearsal(
        recipe=recipe.name,
        begins=before.name if before else "random weights",
        clip=(clip.frames, clip.crop, clip.crop),
        view=(clip.frames, height, width),
        clips=clips,
        checkpointing=checkpointing,
        parameters=sum(p.numel() for p in trained.model.parameters()),
        losses=tuple(
            float(row["train_loss"])
            for row in read_metrics(out / "metrics.csv")
            if row["train_loss"]
        ),
        seconds=time.perf_counter() - began,
        peak_gib=_peak_gib(),
    )


def reduced(clip: ClipConfig) -> ClipConfig:
    """A smaller clip: a quarter of the frames, 16 at least, and 64 px."""
    frames = max(16, clip.frames // 4)
    return replace(clip, frames=frames, crop=64, short_side=(64, 80), test_short_side=64)


def _noise(recipe: Recipe, count: int) -> VideoFolder:
    """Videos of 4:3 a little longer than a clip: `count` to train on, one to test."""
    clip, side = recipe.clip, recipe.clip.test_short_side
    shape = (clip.frames * clip.stride + 8, side, side * 4 // 3, 3)
    rng = np.random.default_rng(0)
    several = (Action(label=0, start=0.0, end=1.0), Action(label=1, start=0.5, end=9.0))
    samples = [
        Sample(
            video=open_video(rng.integers(0, 256, shape, np.uint8)),
            label=None if recipe.multi_label else number,
            actions=several if recipe.multi_label else (),
        )
        for number in range(count + 1)
    ]
    return VideoFolder(
        labels=[str(number) for number in range(recipe.model.num_classes)],
        splits={"train": samples[:count], "val": [], "test": samples[count:]},
        split_by="the rehearsal",
        multi_label=recipe.multi_label,
    )


def _peak_gib() -> float:
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, KiB elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30
