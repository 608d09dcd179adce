"""Runs a detection recipe: detector, first weights, schedule; the run folder is the result."""

import os
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import torch

from nonlocalnet.data.coco import CocoSplit
from nonlocalnet.data.coco_sets import CocoTrain
from nonlocalnet.engine.detection import train_detector
from nonlocalnet.engine.schedule import cosine, tenths
from nonlocalnet.recipes.config import Machine
from nonlocalnet.recipes.detection import DetectionRecipe
from nonlocalnet.recipes.run import write_config
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
    if plan.warmup >= plan.steps:
        raise ValueError(f"a warm-up of {plan.warmup} steps in a run of {plan.steps}; shorten it")
    late = [step for step in plan.decay_at if step >= plan.steps]
    if plan.schedule == "steps" and late:
        raise ValueError(
            f"the learning rate is to fall at step {late[0]}, after the run's {plan.steps} steps; "
            "give --train.decay_at that fits, or --train.schedule cosine"
        )
    if machine.compile:
        raise ValueError("detectors choose their regions as they go, so --compile is not for them")
    world = int(os.environ.get("WORLD_SIZE", 1))
    batch = batch or max(1, plan.batch // (world * machine.accumulate))
    images = batch * machine.accumulate * world
    rate = plan.lr * images / plan.batch
    if images != plan.batch:
        say(
            f"{images} images per step instead of {plan.batch}: learning rate {rate:g} instead of "
            f"{plan.lr:g}; the schedule keeps its {plan.steps} steps"
        )
    write_config(out, {**asdict(recipe), "machine": {"images_per_step": images}})
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
    return train_detector(
        model,
        CocoTrain(train, plan.seed, plan.flip),
        val,
        out,
        steps=plan.steps,
        batch=batch,
        lr=rate,
        schedule=partial(cosine, steps=plan.steps, warmup=plan.warmup)
        if plan.schedule == "cosine"
        else partial(tenths, decay_at=plan.decay_at, warmup=plan.warmup),
        optimizer=plan.optimizer,
        weight_decay=plan.weight_decay,
        clip_norm=plan.clip_norm,
        accumulate=machine.accumulate,
        max_steps=machine.max_steps,
        validate_every=plan.validate_every,
        checkpoint_every=plan.checkpoint_every,
        precision=machine.precision,
        workers=machine.workers,
        seed=plan.seed,
        progress=progress,
    )
