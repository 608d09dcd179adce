"""Training of detectors (Sec. 6): all heads jointly, end to end, with Lightning.

The stream of batches is a function of the step and random generators are seeded at each batch, as
for videos (`engine.training`): what is killed goes on as if nothing had happened.
"""

import logging
import os
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import lightning.pytorch as pl
import torch
from lightning.pytorch.loggers import TensorBoardLogger
from torch import Tensor
from torch.utils.data import DataLoader

from nonlocalnet.data.coco import CocoSplit
from nonlocalnet.data.coco_sets import Batch, CocoTest, CocoTrain, collate
from nonlocalnet.engine.checkpoints import AtomicCheckpointIO, KeepBest, KeepLast
from nonlocalnet.engine.coco_ap import SHORT
from nonlocalnet.engine.detect import KINDS, Found, check_fits, coco_entries, detect, figures_of
from nonlocalnet.engine.guard import Guard
from nonlocalnet.engine.logs import MetricsCSV
from nonlocalnet.engine.module import seed_batch
from nonlocalnet.engine.processes import everyone, join_processes
from nonlocalnet.engine.sampler import StepBatches
from nonlocalnet.engine.training import Bar, Precision, steps_done
from nonlocalnet.weights.detector import save_detector

LOSSES = ("classifier", "box_reg", "objectness", "rpn_box_reg")
COLUMNS = ("epoch", "lr", "train_loss", *(f"loss_{name}" for name in LOSSES))


class DetectionTraining(pl.LightningModule):
    """The sum of torchvision's losses, and the average precision of a split as validation.

    Args:
        model: From `build_detector`.
        split: Validated on.
        lr: Learning rate at the top of the schedule.
        schedule: Factor on it, by step.
        optimizer: "sgd", with momentum 0.9 as Detectron's, or "adamw".
        weight_decay: Of all weights but biases and norms.
        seed: Of whatever a step draws: scales, proposals, anchors.
        images_per_epoch: Says which epoch a step is in.
    """

    def __init__(
        self,
        model: Any,
        split: CocoSplit,
        *,
        lr: float,
        schedule: Callable[[int], float],
        optimizer: Literal["sgd", "adamw"],
        weight_decay: float,
        seed: int,
        images_per_epoch: int,
    ) -> None:
        super().__init__()
        self.model, self.split, self.seed = model, split, seed
        self.lr, self.schedule = lr, schedule
        self.optimizer, self.weight_decay = optimizer, weight_decay
        self.images_per_epoch = images_per_epoch
        self.losses: list[dict[str, Tensor]] = []  # of this step so far
        self.found: dict[int, Found] = {}
        self.clock = time.perf_counter()

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Seeds this batch's random numbers."""
        seed_batch(self, self.seed, batch_idx)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Loss of one batch of images."""
        losses: dict[str, Tensor] = self.model(batch.images, batch.targets)
        total = torch.stack(list(losses.values())).sum()
        self.losses.append({name: loss.detach() for name, loss in losses.items()})
        self.losses[-1]["train_loss"] = total.detach()
        within = self.trainer.accumulate_grad_batches
        if (batch_idx + 1) % within == 0:
            self._log_step(len(batch.images) * within * self.trainer.world_size)
        return total

    def _log_step(self, images: int) -> None:
        for name in self.losses[0]:
            value = torch.stack([losses[name] for losses in self.losses]).mean()
            self.log(name, value, prog_bar=name == "train_loss", sync_dist=True)
        self.losses.clear()
        now, before = time.perf_counter(), self.clock
        self.clock = now
        self.log("images_per_second", images / (now - before), prog_bar=True)
        self.log("lr", self.optimizers().param_groups[0]["lr"])  # type: ignore[union-attr]
        self.log("epoch", float(self.global_step * images // self.images_per_epoch))

    def validation_step(self, item: tuple[Tensor, int], batch_idx: int) -> None:
        """Detections of one image."""
        image, number = item
        self.found[int(number)] = coco_entries(int(number), detect(self.model, image))

    def on_validation_epoch_end(self) -> None:
        """All columns, over the images of all processes."""
        found, self.found = everyone(self.found), {}
        for name, value in figures_of(self.split, found).items():
            if value is not None:
                self.log(f"val_{name}", value, prog_bar=name.endswith("_AP"))

    def on_validation_end(self) -> None:
        """The pause does not count as training time."""
        self.clock = time.perf_counter()

    def configure_optimizers(self) -> dict[str, Any]:
        """Biases and norms are not decayed; what is frozen has no part in it."""
        learning = [p for p in self.model.parameters() if p.requires_grad]
        groups = [
            {"params": [p for p in learning if p.ndim > 1]},
            {"params": [p for p in learning if p.ndim <= 1], "weight_decay": 0.0},
        ]
        settings: dict[str, Any] = {"lr": self.lr, "weight_decay": self.weight_decay}
        if self.optimizer == "adamw":
            optimizer = torch.optim.AdamW(groups, **settings)
        else:
            optimizer = torch.optim.SGD(groups, momentum=0.9, **settings)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, self.schedule)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def train_detector(
    model: Any,
    train_set: CocoTrain,
    val_split: CocoSplit,
    run: Path,
    *,
    steps: int,
    batch: int,
    lr: float,
    schedule: Callable[[int], float],
    optimizer: Literal["sgd", "adamw"] = "sgd",
    weight_decay: float = 1e-4,
    clip_norm: float | None = None,
    accumulate: int = 1,
    max_steps: int | None = None,
    validate_every: int,
    checkpoint_every: int,
    precision: Precision = "32-true",
    workers: int = 1,
    seed: int = 0,
    progress: bool = True,
) -> Any:
    """Trains a detector and leaves metrics.csv, last.ckpt and best.safetensors in the run folder.

    Args:
        model: From `build_detector`; trained in place.
        train_set: Images and targets.
        val_split: Its average precision is logged while training; the last weights are kept.
        run: The run folder; goes on from its last.ckpt where there is one.
        steps: Optimiser steps in all.
        batch: Images per process and forward pass.
        lr: Learning rate at its highest.
        schedule: Factor on it, by step.
        optimizer: See `DetectionTraining`.
        weight_decay: See `DetectionTraining`.
        clip_norm: Largest norm of the gradient.
        accumulate: Batches per optimiser step and process.
        max_steps: Stop there, wherever the schedule stands.
        validate_every: Steps between validations.
        checkpoint_every: Steps between checkpoints; each validation leaves one too.
        precision: 32-true, or autocast to bf16 or fp16.
        workers: Processes that read ahead.
        seed: Of every random choice.
        progress: Show a progress bar.

    Raises:
        ValueError: Detector and data do not fit, or a loss or gradient is not finite.
    """
    check_fits(model, train_set.split)
    check_fits(model, val_split)
    module = DetectionTraining(
        model,
        val_split,
        lr=lr,
        schedule=schedule,
        optimizer=optimizer,
        weight_decay=weight_decay,
        seed=seed,
        images_per_epoch=len(train_set),
    )
    last = run / "last.ckpt"
    done = steps_done(last)
    task = "mask" if val_split.task == "masks" else "keypoint"
    kinds = [SHORT[kind] for kind in KINDS[val_split.task]]
    validated = [f"val_{kind}_{name}" for kind in kinds for name in ("AP", "AP50", "AP75")]
    metrics = MetricsCSV(
        run / "metrics.csv", (*COLUMNS, f"loss_{task}", "images_per_second", *validated)
    )
    metrics.begin(done)
    split = train_set.split

    def write(net: Any) -> None:
        save_detector(net, run / "best.safetensors", split.labels, split.keypoints, split.skeleton)

    join_processes()
    world, local = (int(os.environ.get(k, 1)) for k in ("WORLD_SIZE", "LOCAL_WORLD_SIZE"))
    end = min(steps, max_steps or steps)
    validate_every = min(validate_every, end)
    paths = [image.path for image in train_set.images]
    callbacks: list[pl.Callback] = [
        KeepBest(run / "best.safetensors", write, choose=False),
        Guard(run, paths, keep=_of_batches),
    ]
    if progress:
        callbacks.append(Bar())
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
    )
    tests = CocoTest(val_split)
    with warnings.catch_warnings():  # Lightning's advice on settings chosen here on purpose
        warnings.filterwarnings("ignore", module="lightning")
        warnings.filterwarnings("ignore", message=".*LeafSpec", category=FutureWarning)
        trainer.fit(
            module,
            DataLoader(train_set, batch_sampler=batches, collate_fn=collate, **parallel),
            DataLoader(tests, batch_size=None, sampler=range(rank, len(tests), world), **parallel),
            ckpt_path=last if done else None,
            weights_only=True,
        )
    return model


def _of_batches(batches: list[Batch]) -> dict[str, Any]:
    """What `Guard` keeps of the step that went wrong."""
    return {
        "images": [image.cpu() for batch in batches for image in batch.images],
        "targets": [
            {name: value.cpu() for name, value in target.items()}
            for batch in batches
            for target in batch.targets
        ],
    }
