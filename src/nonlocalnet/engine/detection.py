"""Training of detectors (Sec. 6): all heads jointly, end to end, by the loop of all trainings."""

import time
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from nonlocalnet.data.coco import CocoSplit
from nonlocalnet.data.coco_sets import Batch, CocoTest, CocoTrain, collate
from nonlocalnet.engine.checkpoints import KeepBest
from nonlocalnet.engine.coco_ap import SHORT
from nonlocalnet.engine.detect import KINDS, Found, check_fits, coco_entries, detect, figures_of
from nonlocalnet.engine.guard import Guard
from nonlocalnet.engine.loop import Loop, log_place, seed_batch
from nonlocalnet.engine.processes import everyone
from nonlocalnet.weights.detector import save_detector

LOSSES = ("classifier", "box_reg", "objectness", "rpn_box_reg")
COLUMNS = ("epoch", "lr", "train_loss", *(f"loss_{name}" for name in LOSSES))


class DetectionTraining(pl.LightningModule):
    """The sum of torchvision's losses, and the average precision of a split as validation.

    Args:
        model: From `build_detector`.
        split: Validated on.
        loop: Optimiser, and the seed of whatever a step draws: scales, proposals, anchors.
        images_per_epoch: Says which epoch a step is in.
    """

    def __init__(self, model: Any, split: CocoSplit, loop: Loop, images_per_epoch: int) -> None:
        super().__init__()
        self.model, self.split, self.loop = model, split, loop
        self.images_per_epoch = images_per_epoch
        self.losses: list[dict[str, Tensor]] = []  # of this step so far
        self.found: dict[int, Found] = {}
        self.clock = time.perf_counter()

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Seeds this batch's random numbers."""
        seed_batch(self, self.loop.seed, batch_idx)

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
        log_place(self, self.images_per_epoch)

    def validation_step(self, item: tuple[Tensor, int], batch_idx: int) -> None:
        """Detections of one image."""
        image, number = item
        self.found[int(number)] = coco_entries(int(number), detect(self.model, image))

    def on_validation_epoch_end(self) -> None:
        """All columns, over the images of all processes."""
        found, self.found = everyone(self.found), {}
        log_place(self, self.images_per_epoch)
        for name, value in figures_of(self.split, found).items():
            if value is not None:
                self.log(f"val_{name}", value, prog_bar=name.endswith("_AP"))

    def on_validation_end(self) -> None:
        """The pause does not count as training time."""
        self.clock = time.perf_counter()

    def configure_optimizers(self) -> dict[str, Any]:
        """Plain momentum, as Detectron."""
        return self.loop.optimizers(self.model, nesterov=False)


def train_detector(
    model: Any, train_set: CocoTrain, val_split: CocoSplit, run: Path, loop: Loop
) -> Any:
    """Trains a detector and leaves metrics.csv, last.ckpt and best.safetensors in the run folder.

    Args:
        model: From `build_detector`; trained in place.
        train_set: Images and targets.
        val_split: Its average precision is logged while training; the last weights are kept.
        run: The run folder; goes on from its last.ckpt where there is one.
        loop: Steps, batches, optimiser.

    Raises:
        ValueError: Detector and data do not fit, or a loss or gradient is not finite.
    """
    check_fits(model, train_set.split)
    check_fits(model, val_split)
    task = "mask" if val_split.task == "masks" else "keypoint"
    kinds = [SHORT[kind] for kind in KINDS[val_split.task]]
    validated = [f"val_{kind}_{name}" for kind in kinds for name in ("AP", "AP50", "AP75")]
    columns = (*COLUMNS, f"loss_{task}", "images_per_second", *validated)
    split = train_set.split

    def write(net: Any) -> None:
        save_detector(net, run / "best.safetensors", split.labels, split.keypoints, split.skeleton)

    paths = [image.path for image in train_set.images]
    callbacks: list[pl.Callback] = [
        KeepBest(run / "best.safetensors", write, choose=False),
        Guard(run, paths, keep=_of_batches),
    ]
    trainer = loop.trainer(run, columns, callbacks)
    batches = loop.batches(trainer, len(train_set))
    loop.fit(
        trainer,
        DetectionTraining(model, val_split, loop, len(train_set)),
        DataLoader(train_set, batch_sampler=batches, collate_fn=collate, **loop.reading),
        CocoTest(val_split),
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
