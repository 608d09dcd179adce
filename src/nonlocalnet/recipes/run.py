"""Runs a recipe: network, first weights, batch norm, schedule; the run folder is the result.

A recipe that starts from another's weights (`init`) finds them in that recipe's run folder, beside
its own.
"""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import torch

from nonlocalnet.data.folder import VideoFolder
from nonlocalnet.data.sets import TestVideos, TrainClips
from nonlocalnet.engine.protocol import Protocol
from nonlocalnet.engine.training import train
from nonlocalnet.models.resnet import VideoResNet
from nonlocalnet.nn.batchnorm import affine_bn, freeze_bn
from nonlocalnet.recipes.begin import loop_of, write_config
from nonlocalnet.recipes.config import Machine
from nonlocalnet.recipes.recipe import Recipe
from nonlocalnet.recipes.start import first_weights


def run(
    recipe: Recipe,
    folder: VideoFolder,
    out: Path,
    *,
    machine: Machine | None = None,
    batch: int | None = None,
    init: str = "",
    say: Callable[[str], None] = print,
    progress: bool = True,
) -> VideoResNet:
    """Trains by a recipe; goes on where the run folder's last.ckpt stands.

    Args:
        recipe: What to do.
        folder: The data.
        out: The run folder.
        machine: Precision, workers, accumulation.
        batch: Clips per process and forward pass; None: the recipe's, shared out. The learning
            rate follows what it makes of the clips per step.
        init: First weights instead of the recipe's own.
        say: Gets a few sentences.
        progress: Show a progress bar.

    Raises:
        ValueError: A setting that cannot be, data of another kind, a run folder of other settings,
            or first weights that are missing or do not fit.
    """
    machine, plan = machine or Machine(), recipe.train
    _check(recipe, folder)
    loop = loop_of(plan, machine, batch, "clips", say, progress)
    watched = folder.splits["val"] or folder.splits["test"]
    write_config(out, {**asdict(recipe), "machine": {"clips_per_step": loop.per_step}})
    torch.manual_seed(plan.seed)
    model = recipe.model.build()
    first_weights(model, recipe, init, out, say)
    if plan.bn in ("frozen", "trunk"):
        freeze_bn(model, blocks=plan.bn == "frozen")
    elif plan.bn == "affine":
        affine_bn(model)
    classes = len(folder.labels) if recipe.multi_label else None
    views = Protocol.parse(plan.validation).views
    return train(
        model,
        TrainClips(folder.splits["train"], recipe.clip, plan.seed, classes),
        TestVideos(watched, recipe.clip, views, plan.seed),
        out,
        loop,
        labels=folder.labels,
        choose_best=plan.keep == "best",
        label_smoothing=plan.label_smoothing,
        balanced=plan.balanced,
        patience=plan.patience,
        precise_bn_batches=plan.precise_bn,
        sync_bn=plan.bn == "sync",
        compiled=machine.compile,
        max_bad=plan.max_bad,
        left_out=folder.bad,
        extra={"combine": recipe.test.combine, "views": recipe.test.views, "seed": plan.seed},
    )


def _check(recipe: Recipe, folder: VideoFolder) -> None:
    plan, classes = recipe.train, len(folder.labels)
    Protocol.parse(recipe.test.views)
    kinds = {True: "several labels", False: "one label"}
    if recipe.multi_label != folder.multi_label:
        raise ValueError(
            f"{recipe.name} is for {kinds[recipe.multi_label]} per video, but the data has "
            f"{kinds[folder.multi_label]} each; choose a recipe that fits"
        )
    if recipe.model.num_classes != classes:
        raise ValueError(
            f"{recipe.name} has {recipe.model.num_classes} classes, the data has {classes}; give "
            f"--model.num_classes {classes} if this is the data that you mean"
        )
    if plan.bn == "sync" and not torch.cuda.is_available():
        raise ValueError(
            "train.bn=sync runs on GPUs only, and there is none; take train.bn=train or frozen"
        )
    if not 0 <= plan.label_smoothing < 1 or (plan.label_smoothing and recipe.multi_label):
        raise ValueError(
            f"train.label_smoothing={plan.label_smoothing:g} must be from 0 to below 1, and 0 for "
            "videos of several labels"
        )
    if plan.balanced and recipe.multi_label:
        raise ValueError(
            "videos of several labels cannot be drawn by class; leave train.balanced off"
        )
    if plan.patience and plan.keep != "best":
        raise ValueError(
            "stopping early (train.patience) chooses the weights by validation; it needs "
            "train.keep=best, and a validation split of its own"
        )
    if plan.keep == "best" and not folder.splits["val"]:
        raise ValueError(
            "train.keep=best chooses by a validation split, and the data has none (the test split "
            "must not choose its own winner); take train.keep=last"
        )
