"""Training of video networks (Sec. 4.1), by the loop that all trainings share."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import EarlyStopping
from torch.utils.data import DataLoader

from nonlocalnet.data.sets import TestVideos, TrainClips, TrainItem
from nonlocalnet.engine.blocklog import STATS, BlockLog
from nonlocalnet.engine.checkpoints import KeepBest
from nonlocalnet.engine.datareport import DataReport
from nonlocalnet.engine.guard import Guard
from nonlocalnet.engine.loop import Loop
from nonlocalnet.engine.module import Training
from nonlocalnet.engine.precise import PreciseBN
from nonlocalnet.engine.sampler import StepBatches
from nonlocalnet.models.resnet import VideoResNet
from nonlocalnet.nn.insert import nonlocal_blocks
from nonlocalnet.weights.file import save

COLUMNS = ("epoch", "lr", "train_loss", "train_error", "val_loss", "val_error")
COLUMNS += ("clips_per_second", "data_wait")


def train(
    model: VideoResNet,
    train_set: TrainClips,
    val_set: TestVideos,
    run: Path,
    loop: Loop,
    *,
    labels: Sequence[str],
    choose_best: bool,
    label_smoothing: float = 0.0,
    balanced: bool = False,
    patience: int = 0,
    precise_bn_batches: int = 0,
    sync_bn: bool = False,
    compiled: bool = False,
    max_bad: float = 0.01,
    left_out: Sequence[str] = (),
    extra: Mapping[str, Any] | None = None,
) -> VideoResNet:
    """Trains a network and leaves metrics.csv, last.ckpt and best.safetensors in the run folder.

    Args:
        model: The network; trained in place.
        train_set: Random clips.
        val_set: Videos whose error is logged while training.
        run: The run folder; goes on from its last.ckpt where there is one.
        loop: Steps, batches, optimiser.
        labels: Class names.
        choose_best: Keep the weights with the lowest validation error instead of the last.
        label_smoothing: Share of every label that is spread over all classes.
        balanced: Draw every class equally often.
        patience: Stop after so many validations without a better one; 0: never.
        precise_bn_batches: Training batches that measure batch norm before each validation.
        sync_bn: Batch norm over all processes (GPUs).
        compiled: Through torch.compile.
        max_bad: Share of the training videos that may be unreadable; others take their places.
        left_out: Sentences about videos that are not in `train_set`, for the first epoch's table.
        extra: More metadata for the model file.

    Raises:
        ValueError: Too many videos are unreadable, or a loss or gradient is not finite.
    """
    config = train_set.config
    module = Training(
        model.to(memory_format=torch.channels_last_3d),
        config,
        loop,
        clips_per_epoch=len(train_set),
        multi_label=train_set.classes is not None,
        label_smoothing=label_smoothing,
    )
    if compiled:
        model.compile()  # in place, so that names and files stay
    blocks = [f"{name}.{key}" for name in nonlocal_blocks(model) for key in STATS]
    said = {**(extra or {}), **({"multi_label": True} if module.multi_label else {})}

    def write(net: VideoResNet) -> None:
        save(net, run / "best.safetensors", labels=labels, clip=asdict(config), **said)

    def some_batches(step: int) -> DataLoader[TrainItem]:
        """Other clips than the run's own, the same in every process."""
        which = StepBatches(
            size=len(train_set),
            batch=loop.batch,
            steps=step + precise_bn_batches,
            seed=loop.seed + 1,
            first_step=lambda: step,
        )
        return DataLoader(train_set, batch_sampler=which, num_workers=loop.workers)

    callbacks: list[pl.Callback] = [
        KeepBest(run / "best.safetensors", write, choose_best),
        DataReport(len(train_set), loop.per_step, max_bad, left_out),
        Guard(run, [sample.video.path for sample in train_set.samples]),
    ]
    if blocks:
        callbacks.append(BlockLog(config))
    if precise_bn_batches:
        callbacks.append(PreciseBN(lambda: some_batches(trainer.global_step), config))
    if patience:
        callbacks.append(
            EarlyStopping("val_error", patience=patience, check_on_train_epoch_end=False)
        )
    trainer = loop.trainer(run, (*COLUMNS, *blocks), callbacks, sync_batchnorm=sync_bn)
    classes = [sample.label or 0 for sample in train_set.samples] if balanced else None
    batches = loop.batches(trainer, len(train_set), classes)
    loop.fit(trainer, module, DataLoader(train_set, batch_sampler=batches, **loop.reading), val_set)
    return model
