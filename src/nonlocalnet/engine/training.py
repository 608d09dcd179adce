"""Training (Sec. 4.1) with Lightning: loop, precision, devices, progress and loggers are its own.

The whole run is one pass of Lightning's loop over a stream of batches that is a function of the
step (`StepBatches`), and the random generators are seeded anew at each step: a run that was killed
goes on from its last checkpoint as if nothing had happened.
"""

import hashlib
import logging
import math
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import lightning.pytorch as pl
import torch
from lightning.pytorch.loggers import TensorBoardLogger
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader

from nonlocalnet.data.clips import ClipConfig, to_input
from nonlocalnet.data.sets import TestItem, TestVideos, TrainClips, TrainItem
from nonlocalnet.engine.checkpoints import AtomicCheckpointIO, KeepLast
from nonlocalnet.engine.datareport import DataReport
from nonlocalnet.engine.logs import MetricsCSV
from nonlocalnet.engine.sampler import StepBatches
from nonlocalnet.engine.testing import video_scores
from nonlocalnet.models.resnet import VideoResNet
from nonlocalnet.weights.file import save

COLUMNS = ("epoch", "lr", "train_loss", "train_error", "val_loss", "val_error")
COLUMNS += ("clips_per_second", "data_wait")


class Training(pl.LightningModule):
    """Cross entropy, SGD (Sec. 4.1) or AdamW, cosine schedule with linear warm-up.

    Args:
        model: The network.
        config: Normalises the clips.
        lr: Learning rate at the top of the schedule.
        steps: Length of the schedule.
        warmup: Steps of linear warm-up.
        optimizer: "sgd", with Nesterov momentum 0.9, or "adamw".
        weight_decay: Of all weights but those of batch norm and biases.
        seed: Of dropout and whatever else the step draws.
        clips_per_epoch: Says which epoch a step is in.
    """

    def __init__(
        self,
        model: VideoResNet,
        config: ClipConfig,
        *,
        lr: float,
        steps: int,
        warmup: int,
        optimizer: Literal["sgd", "adamw"],
        weight_decay: float,
        seed: int,
        clips_per_epoch: int,
    ) -> None:
        super().__init__()
        self.model, self.config = model, config
        self.lr, self.steps, self.warmup = lr, steps, warmup
        self.optimizer, self.weight_decay = optimizer, weight_decay
        self.seed, self.clips_per_epoch = seed, clips_per_epoch
        self.clock = time.perf_counter()

    def on_train_batch_start(self, batch: TrainItem, batch_idx: int) -> None:
        """Seeds this step's random numbers, whatever came before."""
        text = f"{self.seed}/{self.global_step}/{self.global_rank}"
        torch.manual_seed(int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]) >> 1)

    def transfer_batch_to_device(
        self, batch: Any, device: torch.device, dataloader_idx: int
    ) -> Any:
        """Training clips move; the views of a video move one by one, in `video_scores`."""
        if isinstance(batch, TestItem):
            return batch
        return super().transfer_batch_to_device(batch, device, dataloader_idx)

    def training_step(self, batch: TrainItem, batch_idx: int) -> Tensor:
        """Loss of one batch of clips."""
        logits = self.model(to_input(batch.clip, self.config))
        loss = F.cross_entropy(logits, batch.label)
        error = (logits.argmax(1) != batch.label).float().mean()
        now, before = time.perf_counter(), self.clock
        self.clock = now
        size = len(batch.label)
        self.log("train_loss", loss, prog_bar=True)
        self.log("train_error", error)
        self.log("clips_per_second", size / (now - before), prog_bar=True)
        self.log("lr", self.optimizers().param_groups[0]["lr"])  # type: ignore[union-attr]
        self.log(
            "epoch",
            float(self.global_step * size * self.trainer.world_size // self.clips_per_epoch),
        )
        return loss

    def validation_step(self, item: TestItem, batch_idx: int) -> None:
        """Error of one video by the paper's test with the loader's views."""
        index, views, _ = item
        if views is None:
            return
        loader = self.trainer.val_dataloaders
        label = loader.dataset.samples[index].label  # type: ignore[union-attr]
        scores = video_scores(self.model, views, self.config)
        loss = -scores[label].clamp_min(1e-12).log()
        wrong = (scores.argmax() != label).float()
        self.log("val_loss", loss, batch_size=1, sync_dist=True)
        self.log("val_error", wrong, batch_size=1, prog_bar=True, sync_dist=True)

    def on_validation_end(self) -> None:
        """The pause does not count as training time."""
        self.clock = time.perf_counter()

    def configure_optimizers(self) -> dict[str, Any]:
        """Batch norm and biases are not decayed."""
        decayed = [p for p in self.model.parameters() if p.ndim > 1]
        free = [p for p in self.model.parameters() if p.ndim <= 1]
        groups = [{"params": decayed}, {"params": free, "weight_decay": 0.0}]
        settings: dict[str, Any] = {"lr": self.lr, "weight_decay": self.weight_decay}
        if self.optimizer == "adamw":
            optimizer = torch.optim.AdamW(groups, **settings)
        else:
            optimizer = torch.optim.SGD(groups, momentum=0.9, nesterov=True, **settings)
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: cosine(step, self.steps, self.warmup)
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def cosine(step: int, steps: int, warmup: int) -> float:
    """Factor on the learning rate: linear warm-up, then half a cosine down to 0.

    Example:
        >>> [round(cosine(step, 12, 2), 2) for step in (0, 1, 2, 7, 12)]
        [0.5, 1.0, 1.0, 0.5, 0.0]
    """
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(steps - warmup, 1)))


class KeepBest(pl.Callback):
    """Writes the model file: the one with the lowest validation error, or just the newest.

    Args:
        path: The model file.
        write: Saves a network there.
        choose: Whether validation chooses; without a split of its own it must not (the test
            split would choose its own winner), and the newest weights are kept.
    """

    def __init__(self, path: Path, write: Callable[[VideoResNet], None], choose: bool) -> None:
        self.path, self.write, self.choose = path, write, choose
        self.lowest = math.inf

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Keeps these weights when they are the best so far."""
        error = float(trainer.callback_metrics.get("val_error", math.inf))
        if trainer.is_global_zero and (not self.choose or error < self.lowest):
            self.lowest = error
            self.write(pl_module.model)  # type: ignore[arg-type]

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """The last weights, unless validation chose others."""
        if trainer.is_global_zero and not (self.choose and self.path.exists()):
            self.write(pl_module.model)  # type: ignore[arg-type]

    def state_dict(self) -> dict[str, Any]:
        """Travels in the checkpoint, so that a resumed run knows the best so far."""
        return {"lowest": self.lowest}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """The other way."""
        self.lowest = state_dict["lowest"]


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
    warmup: int,
    optimizer: Literal["sgd", "adamw"] = "sgd",
    weight_decay: float = 1e-4,
    validate_every: int,
    checkpoint_every: int,
    workers: int = 1,
    max_bad: float = 0.01,
    left_out: Sequence[str] = (),
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
        batch: Clips per step and process.
        lr: Learning rate at its highest.
        warmup: Steps of linear warm-up.
        optimizer: See `Training`.
        weight_decay: Of all weights but batch norm's and biases.
        validate_every: Steps between validations.
        checkpoint_every: Steps between checkpoints.
        workers: Processes that decode.
        max_bad: Share of the training videos that may be unreadable; others take their places.
        left_out: Sentences about videos that are not in `train_set`, for the first epoch's table.
        seed: Of every random choice.
        progress: Show a progress bar.

    Raises:
        ValueError: The schedule cannot be (warm-up longer than the run), or too many videos are
            unreadable.
    """
    if warmup >= steps:
        raise ValueError(f"warm-up of {warmup} steps in a run of {steps}; shorten it")
    config = train_set.config
    module = Training(
        model.to(memory_format=torch.channels_last_3d),
        config,
        lr=lr,
        steps=steps,
        warmup=warmup,
        optimizer=optimizer,
        weight_decay=weight_decay,
        seed=seed,
        clips_per_epoch=len(train_set),
    )
    last = run / "last.ckpt"
    done = _steps_done(last)
    metrics = MetricsCSV(run / "metrics.csv", COLUMNS)
    metrics.begin(done)

    def write(net: VideoResNet) -> None:
        save(net, run / "best.safetensors", labels=labels, clip=asdict(config))

    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    trainer = pl.Trainer(
        accelerator="auto",
        max_steps=steps,
        max_epochs=-1,
        val_check_interval=min(validate_every, steps),
        check_val_every_n_epoch=None,
        num_sanity_val_steps=0,
        log_every_n_steps=max(1, min(10, steps // 10)),
        logger=[metrics, TensorBoardLogger(run, name=None, version="tensorboard")],
        callbacks=[
            KeepBest(run / "best.safetensors", write, choose_best),
            KeepLast(last, checkpoint_every),
            DataReport(len(train_set), max(1, len(train_set) // batch), max_bad, left_out),
        ],
        plugins=[AtomicCheckpointIO()],
        use_distributed_sampler=False,
        enable_checkpointing=False,
        enable_progress_bar=progress,
        enable_model_summary=False,
        default_root_dir=run,
    )
    batches = StepBatches(
        size=len(train_set),
        batch=batch,
        steps=steps,
        seed=seed,
        first_step=lambda: trainer.global_step,
        rank=trainer.global_rank,
        world=trainer.world_size,
    )
    parallel = {"num_workers": workers, "persistent_workers": workers > 0}
    with warnings.catch_warnings():  # Lightning's advice on settings chosen here on purpose
        warnings.filterwarnings("ignore", module="lightning")
        warnings.filterwarnings("ignore", message=".*LeafSpec", category=FutureWarning)
        trainer.fit(
            module,
            DataLoader(train_set, batch_sampler=batches, **parallel),
            DataLoader(val_set, batch_size=None, **parallel),
            ckpt_path=last if done else None,
            weights_only=True,
        )
    return model


def _steps_done(checkpoint: Path) -> int:
    if not checkpoint.exists():
        return 0
    return torch.load(checkpoint, map_location="cpu", weights_only=True)["global_step"]
