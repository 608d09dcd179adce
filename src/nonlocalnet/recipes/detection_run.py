"""Runs a detection recipe: detector, first weights, schedule; the run folder is the result."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from nonlocalnet.data.coco import CocoSplit
from nonlocalnet.data.coco_sets import CocoTrain
from nonlocalnet.engine.detection import train_detector
from nonlocalnet.recipes.begin import loop_of, write_config
from nonlocalnet.recipes.config import Machine
from nonlocalnet.recipes.detection import DetectionRecipe
from nonlocalnet.weights.detector import first_weights


def run_detection(
    recipe: DetectionRecipe,
    train: CocoSplit,
    val: CocoSplit,
    out: Path,
    *,
    machine: Machine | None = None,
    batch: int | None = None,
    init: str = "",
    say: Callable[[str], None] = print,
    progress: bool = True,
) -> Any:
    """Trains by a recipe; goes on where the run folder's last.ckpt stands.

    Args:
        recipe: What to do.
        train: Images to learn from.
        val: Images to validate on.
        out: The run folder.
        machine: Precision, workers, accumulation.
        batch: Images per process and forward pass; None: the recipe's, shared out. The learning
            rate follows what it makes of the images per step.
        init: A file of first weights: ImageNet's of `recipe.model.imagenet`, or a whole detector.
        say: Gets a few sentences.
        progress: Show a progress bar.

    Raises:
        ValueError: A setting that cannot be, data that do not fit, a run folder of other settings,
            or first weights that are missing or do not fit.
    """
    machine, plan = machine or Machine(), recipe.train
    if machine.compile:
        raise ValueError("detectors choose their regions as they go, so --compile is not for them")
    loop = loop_of(plan, machine, batch, "images", say, progress)
    write_config(out, {**asdict(recipe), "machine": {"images_per_step": loop.per_step}})
    torch.manual_seed(plan.seed)
    model = recipe.model.build()
    if (out / "last.ckpt").exists():
        pass  # Lightning restores all of it
    elif init:
        say(f"first weights from {init}: {first_weights(model, init)}")
    elif recipe.model.trunk != "tiny":
        raise ValueError(
            f"{recipe.name} begins with ImageNet weights; give their file with --init "
            f"({recipe.model.imagenet}'s, or --model.imagenet for the other's)"
        )
    return train_detector(model, CocoTrain(train, plan.seed, plan.flip), val, out, loop)
