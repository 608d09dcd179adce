"""Rehearsals: each recipe at its full-size network, two training steps and one test view.

The videos are noise. A recipe that begins where another one ends (Sec. 5.1, 5.2) begins there in
its rehearsal too: that one is rehearsed before it, and leaves the weights to load.
"""

import resource
import sys
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from torch.nn import functional as F

from nonlocalnet.data.clips import ClipConfig, even_views, to_input, training_clip
from nonlocalnet.data.video import Video, open_video
from nonlocalnet.engine.testing import video_scores
from nonlocalnet.models.resnet import VideoResNet
from nonlocalnet.nn.batchnorm import freeze_bn
from nonlocalnet.recipes.recipe import Recipe
from nonlocalnet.recipes.tables import all_recipes, recipe_named
from nonlocalnet.weights.file import save
from nonlocalnet.weights.load import load_pretrained

STEPS = 2
LONG = 64  # frames; from here a full clip's rehearsal works activations out again


@dataclass(frozen=True, kw_only=True)
class Rehearsal:
    """What a rehearsal came to."""

    recipe: str
    begins: str
    """Where the weights came from."""
    clip: tuple[int, int, int]
    """Frames, height and width in px of a training clip."""
    view: tuple[int, int, int]
    """The same of the test view."""
    clips: int
    """Per step."""
    checkpointing: bool
    """Whether activations were worked out again in the backward pass, to store less."""
    parameters: int
    losses: tuple[float, ...]
    """Of the steps."""
    seconds: float
    """Of the steps and the test."""
    peak_gib: float
    """Most memory that the process ever held, all of it, and all rehearsals in it."""


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
            try:
                yield pool.submit(rehearse, recipe, full).result()
            except BrokenProcessPool:
                raise ValueError(
                    f"{recipe.name}: the rehearsal's process was ended from outside, perhaps for "
                    "want of memory; free some, or leave out --full"
                ) from None


def rehearse(recipe: Recipe, full: bool = False, leave: Path | None = None) -> Rehearsal:
    """Builds a recipe's network, takes two steps and tests one view.

    Args:
        recipe: Any of `all_recipes()`.
        full: Clips of the recipe's own size, one per step; or else two smaller ones. What comes
            before the recipe is rehearsed on smaller ones in any case.
        leave: Where to save the network.

    Raises:
        ValueError: The weights do not fit, or a loss or a score is not finite.
    """
    clip = recipe.clip if full else reduced(recipe.clip)
    clips = 1 if full else 2
    checkpointing = full and clip.frames > LONG
    torch.manual_seed(recipe.train.seed)
    model = replace(recipe.model, checkpointing=checkpointing).build()
    begins = "random weights"
    if recipe.init in all_recipes():
        with TemporaryDirectory() as folder:
            before = Path(folder) / "best.safetensors"
            rehearse(recipe_named(recipe.init), leave=before)
            load_pretrained(model, before, "nonlocalnet")
        begins = recipe.init
    if recipe.train.bn == "frozen":
        freeze_bn(model)
    video = _noise(clip)
    began = time.perf_counter()
    losses = _train(model, recipe, clip, video, clips)
    views = even_views(video, clip, clips=1)
    scores = video_scores(model.eval(), views, clip)
    if not (scores.isfinite().all() and np.isfinite(losses).all()):
        raise ValueError(
            f"{recipe.name}: losses {losses} and scores from {scores.min():g} to {scores.max():g} "
            "on noise, where finite ones were expected; look at the recipe's scale and rate"
        )
    seconds = time.perf_counter() - began
    if leave:
        labels = [str(number) for number in range(recipe.model.num_classes)]
        save(model, leave, labels=labels, clip=asdict(clip))
    return Rehearsal(
        recipe=recipe.name,
        begins=begins,
        clip=(clip.frames, clip.crop, clip.crop),
        view=views[0].shape[:3],
        clips=clips,
        checkpointing=checkpointing,
        parameters=sum(p.numel() for p in model.parameters()),
        losses=losses,
        seconds=seconds,
        peak_gib=_peak_gib(),
    )


def reduced(clip: ClipConfig) -> ClipConfig:
    """A smaller clip: a quarter of the frames, 16 at least, and 64 px."""
    frames = max(16, clip.frames // 4)
    return replace(clip, frames=frames, crop=64, short_side=(64, 80), test_short_side=64)


def _noise(clip: ClipConfig) -> Video:
    """A video of 4:3, a little longer than a clip."""
    frames = clip.frames * clip.stride + 8
    side = clip.test_short_side
    rng = np.random.default_rng(0)
    return open_video(rng.integers(0, 256, (frames, side, side * 4 // 3, 3), np.uint8))


def _train(
    model: VideoResNet, recipe: Recipe, clip: ClipConfig, video: Video, clips: int
) -> tuple[float, ...]:
    """The losses of two steps at the rate of so small a batch."""
    settings = recipe.train
    rng = np.random.default_rng(settings.seed)
    optimizer = torch.optim.SGD(
        [p for p in model.parameters() if p.requires_grad],
        lr=settings.lr * clips / settings.batch,
        momentum=0.9,
        nesterov=True,
        weight_decay=settings.weight_decay,
    )
    losses = []
    model.train()
    for _ in range(STEPS):
        batch = np.stack([training_clip(video, clip, rng) for _ in range(clips)])
        logits = model(to_input(torch.from_numpy(batch), clip))
        if recipe.multi_label:
            loss = F.binary_cross_entropy_with_logits(logits, (torch.rand_like(logits) < 0.1) * 1.0)
        else:
            loss = F.cross_entropy(logits, torch.randint(logits.shape[1], (clips,)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return tuple(losses)


def _peak_gib() -> float:
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, KiB elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30
