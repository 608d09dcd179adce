"""Training (Sec. 4.1) with Lightning: loop, precision, devices, progress and loggers are its own.

The whole run is one pass of Lightning's loop over a stream of batches that is a function of the
step (`StepBatches`), and the random generators are seeded anew at each batch: a run that was
killed goes on from its last checkpoint as if nothing had happened. Under torchrun, each process
takes its share of every step.
"""

import logging
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import EarlyStopping, RichProgressBar
from lightning.pytorch.loggers import TensorBoardLogger
from torch.utils.data import DataLoader

from nonlocalnet.data.sets import TestVideos, TrainClips, TrainItem
from nonlocalnet.engine.blocklog import STATS, BlockLog
from nonlocalnet.engine.checkpoints import AtomicCheckpointIO, KeepBest, KeepLast
from nonlocalnet.engine.datareport import DataReport
from nonlocalnet.engine.guard import Guard
from nonlocalnet.engine.logs import MetricsCSV
from nonlocalnet.engine.module import Training
from nonlocalnet.engine.precise import PreciseBN
from nonlocalnet.engine.processes import join_processes
from nonlocalnet.engine.sampler import StepBatches
from nonlocalnet.models.resnet import VideoResNet
from nonlocalnet.nn.insert import nonlocal_blocks
from nonlocalnet.weights.file import save

COLUMNS = ("epoch", "lr", "train_loss", "train_error", "val_loss", "val_error")
COLUMNS += ("clips_per_second", "data_wait")
Precision = Literal["32-true", "bf16-mixed", "16-mixed"]


def train(
    model: VideoResNet,
    train_set: TrainClips,
    val_set: TestVideos,
    run: Path,
    *,
    labels: Sequence[str],
    choose_best: bool,
    steps: int,
    batch: int,
    lr: float,
    schedule: Callable[[int], float],
    accumulate: int = 1,
    max_steps: int | None = None,
    optimizer: Literal["sgd", "adamw"] = "sgd",
    weight_decay: float = 1e-4,
    clip_norm: float | None = None,
    balanced: bool = False,
    patience: int = 0,
    precise_bn_batches: int = 0,
    sync_bn: bool = False,
    validate_every: int,
    checkpoint_every: int,
    precision: Precision = "32-true",
    compiled: bool = False,
    workers: int = 1,
    max_bad: float = 0.01,
    left_out: Sequence[str] = (),
    extra: Mapping[str, Any] | None = None,
    seed: int = 0,
    progress: bool = True,
) -> VideoResNet:
    """Trains a network and leaves metrics.csv, last.ckpt and best.safetensors in the run folder.

    Args:
        model: The network; trained in place.
        train_set: Random clips.
        val_set: Videos whose error is logged while training.
        run: The run folder; goes on from its last.ckpt where there is one.
        labels: Class names.
        choose_best: Keep the weights with the lowest validation error instead of the last.
        steps: Optimiser steps in all.
        batch: Clips per process and forward pass.
        lr: Learning rate at its highest.
        schedule: Factor on it, by step.
        accumulate: Batches per optimiser step and process.
        max_steps: Stop there, wherever the schedule stands.
        optimizer: See `Training`.
        weight_decay: Of all weights but batch norm's and biases.
        clip_norm: Largest norm of the gradient.
        balanced: Draw every class equally often.
        patience: Stop after so many validations without a better one; 0: never.
        precise_bn_batches: Training batches that measure batch norm before each validation.
        sync_bn: Batch norm over all processes (GPUs).
        validate_every: Steps between validations.
        checkpoint_every: Steps between checkpoints; each validation leaves one too.
        precision: 32-true, or autocast to bf16 or fp16.
        compiled: Through torch.compile.
        workers: Processes that decode.
        max_bad: Share of the training videos that may be unreadable; others take their places.
        left_out: Sentences about videos that are not in `train_set`, for the first epoch's table.
        extra: More metadata for the model file.
        seed: Of every random choice.
        progress: Show a progress bar.

    Raises:
        ValueError: Too many videos are unreadable, or a loss or gradient is not finite.
    """
    config = train_set.config
    module = Training(
        model.to(memory_format=torch.channels_last_3d),
        config,
        lr=lr,
        schedule=schedule,
        optimizer=optimizer,
        weight_decay=weight_decay,
        seed=seed,
        clips_per_epoch=len(train_set),
        multi_label=train_set.classes is not None,
    )
    if compiled:
        model.compile()  # in place, so that names and files stay
    last = run / "last.ckpt"
    done = steps_done(last)
    blocks = [f"{name}.{key}" for name in nonlocal_blocks(model) for key in STATS]
    metrics = MetricsCSV(run / "metrics.csv", (*COLUMNS, *blocks))
    metrics.begin(done)
    said = {**(extra or {}), **({"multi_label": True} if module.multi_label else {})}

    def write(net: VideoResNet) -> None:
        save(net, run / "best.safetensors", labels=labels, clip=asdict(config), **said)

    def some_batches(step: int) -> DataLoader[TrainItem]:
        """Other clips than the run's own, the same in every process."""
        which = StepBatches(
            size=len(train_set),
            batch=batch,
            steps=step + precise_bn_batches,
            seed=seed + 1,
            first_step=lambda: step,
        )
        return DataLoader(train_set, batch_sampler=which, num_workers=workers)

    join_processes()
    world, local = (int(os.environ.get(k, 1)) for k in ("WORLD_SIZE", "LOCAL_WORLD_SIZE"))
    end = min(steps, max_steps or steps)
    validate_every = min(validate_every, end)
    callbacks: list[pl.Callback] = [
        KeepBest(run / "best.safetensors", write, choose_best),
        DataReport(len(train_set), batch * accumulate * world, max_bad, left_out),
        Guard(run, [sample.video.path for sample in train_set.samples]),
    ]
    if progress:
        callbacks.append(Bar())
    if blocks:
        callbacks.append(BlockLog(config))
    if precise_bn_batches:
        callbacks.append(PreciseBN(lambda: some_batches(trainer.global_step), config))
    if patience:
        callbacks.append(
            EarlyStopping("val_error", patience=patience, check_on_train_epoch_end=False)
        )
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    trainer = pl.Trainer(
        accelerator="auto",
        devices=local if world > 1 else 1,
        num_nodes=max(1, world // local),
        strategy="ddp" if world > 1 else "auto",
        precision=precision,
        max_steps=end,
        max_epochs=-1,
        accumulate_grad_batches=accumulate,
        gradient_clip_val=clip_norm,
        sync_batchnorm=sync_bn,
        val_check_interval=validate_every * accumulate,
        check_val_every_n_epoch=None,
        num_sanity_val_steps=0,
        log_every_n_steps=max(1, min(10, end // 10)),
        logger=[metrics, TensorBoardLogger(run, name=None, version="tensorboard")],
        callbacks=[*callbacks, KeepLast(last, checkpoint_every, validate_every)],
        plugins=[AtomicCheckpointIO()],
        use_distributed_sampler=False,
        enable_checkpointing=False,
        enable_progress_bar=progress,
        enable_model_summary=False,
        default_root_dir=run,
    )
    rank, world = trainer.global_rank, trainer.world_size
    parallel = {"num_workers": workers, "persistent_workers": workers > 0}
    batches = StepBatches(
        size=len(train_set),
        batch=batch,
        steps=steps,
        seed=seed,
        accumulate=accumulate,
        first_step=lambda: trainer.global_step,
        rank=rank,
        world=world,
        classes=[sample.label or 0 for sample in train_set.samples] if balanced else None,
    )
    with warnings.catch_warnings():  # Lightning's advice on settings chosen here on purpose
        warnings.filterwarnings("ignore", module="lightning")
        warnings.filterwarnings("ignore", message=".*LeafSpec", category=FutureWarning)
        # Channels-last 1x1 kernels: the same memory by another name.
        warnings.filterwarnings("ignore", message="Grad strides do not match")
        trainer.fit(
            module,
            DataLoader(train_set, batch_sampler=batches, **parallel),
            DataLoader(
                val_set, batch_size=None, sampler=range(rank, len(val_set), world), **parallel
            ),
            ckpt_path=last if done else None,
            weights_only=True,
        )
    return model


class Bar(RichProgressBar):
    """Lightning's bar, over the steps of the run: epochs are not its unit here."""

    def _get_train_description(self, current_epoch: int) -> str:
        return f"{'training':{len(self.validation_description)}}"


def steps_done(checkpoint: Path) -> int:
    """Steps that a last.ckpt holds; 0 where there is none."""
    if not checkpoint.exists():
        return 0
    return torch.load(checkpoint, map_location="cpu", weights_only=True, mmap=True)["global_step"]
