"""The loop of every training, of clips or of images; devices, precision, progress are Lightning's.

A run is one pass over a stream of batches that is a function of the step (`StepBatches`), and the
random generators are seeded anew at each batch: a run that was killed goes on from its last
checkpoint as if nothing had happened. Under torchrun, each process takes its share of every step.
"""

import hashlib
import logging
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import RichProgressBar
from lightning.pytorch.loggers import TensorBoardLogger
from torch import nn
from torch.utils.data import DataLoader, Dataset

from nonlocalnet.engine.checkpoints import AtomicCheckpointIO, KeepLast, read_last
from nonlocalnet.engine.logs import MetricsCSV
from nonlocalnet.engine.processes import join_processes
from nonlocalnet.engine.sampler import StepBatches
from nonlocalnet.engine.workers import faults_of_workers, leave_interrupts


@dataclass(frozen=True, kw_only=True)
class Loop:
    """How long, in which batches, with which optimiser; when to look and when to keep."""

    steps: int
    """Optimiser steps in all."""
    batch: int
    """Samples per process and forward pass."""
    lr: float
    """Learning rate at its highest."""
    schedule: Callable[[int], float]
    """Factor on it, by step."""
    accumulate: int = 1
    """Batches per optimiser step and process."""
    max_steps: int | None = None
    """Stop there, wherever the schedule stands."""
    optimizer: Literal["sgd", "adamw"] = "sgd"
    """sgd with momentum 0.9, or adamw."""
    weight_decay: float = 1e-4
    """Of all weights but norms' and biases."""
    clip_norm: float | None = None
    """Largest norm of the gradient."""
    validate_every: int
    """Steps between validations."""
    checkpoint_every: int
    """Steps between checkpoints; each validation leaves one too."""
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true"
    """32-true, or autocast to bf16 or fp16."""
    workers: int = 1
    """Processes that read ahead."""
    seed: int = 0
    """Of every random choice."""
    progress: bool = True
    """Show a progress bar."""

    @property
    def per_step(self) -> int:
        """Samples per optimiser step over all processes."""
        return self.batch * self.accumulate * int(os.environ.get("WORLD_SIZE", 1))

    @property
    def reading(self) -> dict[str, Any]:
        """How a DataLoader reads ahead."""
        return {
            "num_workers": self.workers,
            "persistent_workers": self.workers > 0,
            "worker_init_fn": leave_interrupts,
        }

    def optimizers(self, model: nn.Module, *, nesterov: bool) -> dict[str, Any]:
        """Norms and biases are not decayed; what is frozen has no part in it.

        Args:
            model: What learns.
            nesterov: The kind of sgd's momentum.
        """
        learning = [p for p in model.parameters() if p.requires_grad]
        groups = [
            {"params": [p for p in learning if p.ndim > 1]},
            {"params": [p for p in learning if p.ndim <= 1], "weight_decay": 0.0},
        ]
        settings: dict[str, Any] = {"lr": self.lr, "weight_decay": self.weight_decay}
        # One pass over the weights; where a loss is scaled, Lightning refuses to clip with it.
        settings["fused"] = self.precision != "16-mixed"
        if self.optimizer == "adamw":
            optimizer = torch.optim.AdamW(groups, **settings)
        else:
            # The released code rescales its momentum when the rate changes; with the rate outside
            # of the buffer, as here, that is so by itself.
            optimizer = torch.optim.SGD(groups, momentum=0.9, nesterov=nesterov, **settings)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, self.schedule)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def trainer(
        self, run: Path, columns: tuple[str, ...], callbacks: Sequence[pl.Callback], **more: Any
    ) -> pl.Trainer:
        """Lightning's trainer, and the run's metrics.csv begun or cut back to its last checkpoint.

        Args:
            run: The run folder.
            columns: Of metrics.csv.
            callbacks: But the bar, and the one that writes last.ckpt.
            **more: Arguments of Lightning's Trainer.
        """
        join_processes()
        last, end = run / "last.ckpt", min(self.steps, self.max_steps or self.steps)
        validate_every = min(self.validate_every, end)
        metrics = MetricsCSV(run / "metrics.csv", columns)
        metrics.begin(steps_done(last))
        world, local = (int(os.environ.get(k, 1)) for k in ("WORLD_SIZE", "LOCAL_WORLD_SIZE"))
        bar = [Bar()] if self.progress else []
        logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
        return pl.Trainer(
            accelerator="auto",
            devices=local if world > 1 else 1,
            num_nodes=max(1, world // local),
            strategy="ddp" if world > 1 else "auto",
            precision=self.precision,
            max_steps=end,
            max_epochs=-1,
            accumulate_grad_batches=self.accumulate,
            gradient_clip_val=self.clip_norm,
            val_check_interval=validate_every * self.accumulate,
            check_val_every_n_epoch=None,
            num_sanity_val_steps=0,
            log_every_n_steps=max(1, min(10, end // 10)),
            logger=[metrics, TensorBoardLogger(run, name=None, version="tensorboard")],
            callbacks=[*callbacks, *bar, KeepLast(last, self.checkpoint_every, validate_every)],
            plugins=[AtomicCheckpointIO()],
            use_distributed_sampler=False,
            enable_checkpointing=False,
            enable_progress_bar=self.progress,
            enable_model_summary=False,
            default_root_dir=run,
            **more,
        )

    def batches(
        self, trainer: pl.Trainer, size: int, classes: Sequence[int] | None = None
    ) -> StepBatches:
        """This process's share of the run's stream, from where the trainer stands.

        Args:
            trainer: From `trainer`.
            size: Samples in the set.
            classes: See `StepBatches`.
        """
        return StepBatches(
            size=size,
            batch=self.batch,
            steps=self.steps,
            seed=self.seed,
            accumulate=self.accumulate,
            first_step=lambda: trainer.global_step,
            rank=trainer.global_rank,
            world=trainer.world_size,
            classes=classes,
        )

    def fit(
        self,
        trainer: pl.Trainer,
        module: pl.LightningModule,
        train_loader: DataLoader[Any],
        val_set: Dataset[Any],
    ) -> None:
        """Trains; goes on from the run's last.ckpt where there is one.

        Ctrl-C ends the run after the step, with a checkpoint; a second one ends it at once.

        Args:
            trainer: From `trainer`.
            module: What is trained.
            train_loader: Over `batches`.
            val_set: One item is validated at a time, shared out over the processes.

        Raises:
            ValueError: What a callback or the data raise.
            KeyboardInterrupt: After Ctrl-C.
        """
        last, count = Path(trainer.default_root_dir) / "last.ckpt", len(val_set)  # type: ignore[arg-type]
        own = range(trainer.global_rank, count, trainer.world_size)
        with warnings.catch_warnings(), faults_of_workers(), _stopping_whole(trainer):
            # Lightning's advice on settings chosen here on purpose
            warnings.filterwarnings("ignore", module="lightning")
            warnings.filterwarnings("ignore", message=".*LeafSpec", category=FutureWarning)
            # Channels-last 1x1 kernels: the same memory by another name.
            warnings.filterwarnings("ignore", message="Grad strides do not match")
            trainer.fit(
                module,
                train_loader,
                DataLoader(val_set, batch_size=None, sampler=own, **self.reading),
                ckpt_path=last if steps_done(last) else None,
                weights_only=True,
            )


@contextmanager
def _stopping_whole(trainer: pl.Trainer) -> Generator[None]:
    """Ctrl-C stops the trainer between two steps, where KeepLast saves; of one process only.

    Raises:
        KeyboardInterrupt: At the end, also for the SystemExit that Lightning makes of it.
    """
    asked = False

    def ask(*_: Any) -> None:
        nonlocal asked
        if asked:
            raise KeyboardInterrupt
        asked = trainer.should_stop = True
        print("stopping after this step; Ctrl-C again stops at once", file=sys.stderr)

    takes = trainer.world_size == 1 and threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGINT, ask) if takes else None
    try:
        yield
    except SystemExit:
        if not trainer.interrupted:
            raise
        asked = True
    finally:
        if takes:
            signal.signal(signal.SIGINT, before)
    if asked:
        raise KeyboardInterrupt


class Bar(RichProgressBar):
    """Lightning's bar, over the steps of the run: epochs are not its unit here."""

    def _get_train_description(self, current_epoch: int) -> str:
        return f"{'training':{len(self.validation_description)}}"


def steps_done(checkpoint: Path) -> int:
    """Steps that a last.ckpt holds; 0 where there is none."""
    if not checkpoint.exists():
        return 0
    return read_last(checkpoint)["global_step"]


def seed_batch(module: pl.LightningModule, seed: int, batch_idx: int) -> None:
    """Seeds the random numbers of a batch, whatever came before and whoever computes it."""
    within = module.trainer.accumulate_grad_batches
    batches = module.global_step * within + batch_idx % within
    number = batches * module.trainer.world_size + module.global_rank
    text = f"{seed}/{number}/0"  # the 0 was a rank: dropout draws as it always did
    torch.manual_seed(int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]) >> 1)


def log_place(module: Any, size: int) -> None:
    """Logs where a training or its validation stands: the step, counted from 0, and the pass.

    Lightning's own numbers are others: its epoch is always 0, as a run is one pass over one
    stream, and its step lags behind after a resume from a validation.

    Args:
        module: With a `loop`.
        size: Samples in the training set.
    """
    step = module.global_step - (not module.trainer.training)
    module.log("step", float(step))
    module.log("epoch", float(step * module.loop.per_step // size))
