"""One training step and one validation (Sec. 4.1), as a Lightning module."""

import time
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor
from torch.nn import functional as F

from nonlocalnet.data.clips import ClipConfig, to_input
from nonlocalnet.data.sets import TestItem, TrainItem, video_target
from nonlocalnet.engine.loop import Loop, log_place, seed_batch
from nonlocalnet.engine.metrics import mean_average_precision
from nonlocalnet.engine.processes import everyone
from nonlocalnet.engine.testing import video_scores
from nonlocalnet.models.resnet import VideoResNet


class Training(pl.LightningModule):
    """Cross entropy, or one sigmoid per class where a video has several labels (Sec. 5.2).

    The errors logged are the share of wrong first guesses, or 1 - mAP. A step's figures are those
    of all its clips, whatever the number of processes and of batches that it accumulates.

    Args:
        model: The network.
        config: Normalises the clips.
        loop: Optimiser and seed.
        clips_per_epoch: Says which epoch a step is in.
        multi_label: Labels are (classes,) of 0 and 1.
        label_smoothing: Share of every label that is spread over all classes.
    """

    def __init__(
        self,
        model: VideoResNet,
        config: ClipConfig,
        loop: Loop,
        *,
        clips_per_epoch: int,
        multi_label: bool = False,
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__()
        self.label_smoothing = label_smoothing
        self.model, self.config, self.multi_label = model, config, multi_label
        self.loop, self.clips_per_epoch = loop, clips_per_epoch
        self.clock = time.perf_counter()
        self.logits: list[Tensor] = []  # of this step so far
        self.labels: list[Tensor] = []
        self.scores: dict[int, tuple[Tensor, Tensor]] = {}  # video -> scores, label

    def on_train_batch_start(self, batch: TrainItem, batch_idx: int) -> None:
        """Seeds this batch's random numbers."""
        seed_batch(self, self.loop.seed, batch_idx)

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
        self.logits.append(logits.detach().float())
        self.labels.append(batch.label)
        within = self.trainer.accumulate_grad_batches
        if (batch_idx + 1) % within == 0:
            self._log_step()
        return self._loss(logits, batch.label)

    def _loss(self, logits: Tensor, label: Tensor) -> Tensor:
        if self.multi_label:
            return F.binary_cross_entropy_with_logits(logits, label)
        return F.cross_entropy(logits, label, label_smoothing=self.label_smoothing)

    def _log_step(self) -> None:
        logits, labels = torch.cat(self.logits), torch.cat(self.labels)
        self.logits.clear()
        self.labels.clear()
        clips = len(labels) * self.trainer.world_size
        now, before = time.perf_counter(), self.clock
        self.clock = now
        self.log("train_loss", self._loss(logits, labels), prog_bar=True, sync_dist=True)
        self.log("train_error", self._error(self._everywhere(logits), self._everywhere(labels)))
        self.log("clips_per_second", clips / (now - before), prog_bar=True)
        self.log("lr", self.optimizers().param_groups[0]["lr"])  # type: ignore[union-attr]
        log_place(self, self.clips_per_epoch)

    def _everywhere(self, rows: Tensor) -> Tensor:
        """The rows of all processes."""
        gathered: Any = self.all_gather(rows)  # with an axis of processes where there are several
        return gathered.reshape(-1, *rows.shape[1:])

    def _error(self, scores: Tensor, labels: Tensor) -> Tensor:
        """Share of wrong first guesses, or 1 - mAP (nan where no row has a label)."""
        if not self.multi_label:
            return (scores.argmax(1) != labels).float().mean()
        if not scores.isfinite().all():  # the guard says so, and of which videos
            return scores.new_tensor(torch.nan)
        return scores.new_tensor(1 - mean_average_precision(scores.cpu(), labels.cpu())[0])

    def validation_step(self, item: TestItem, batch_idx: int) -> None:
        """Scores of one video with the loader's views."""
        index, views, _ = item
        if views is None:
            return
        loader: Any = self.trainer.val_dataloaders
        sample = loader.dataset.samples[index]
        scores = video_scores(self.model, views, self.config, self.multi_label).cpu()
        one = not self.multi_label
        label = torch.tensor(sample.label) if one else video_target(sample, len(scores))
        self.scores[index] = scores, label

    def on_validation_epoch_end(self) -> None:
        """Loss and error over the videos of all processes, each counted once."""
        found = everyone(self.scores)
        self.scores = {}
        if not found:
            return
        scores = torch.stack([entry[0] for entry in found.values()]).clamp(1e-12, 1)
        labels = torch.stack([entry[1] for entry in found.values()])
        if self.multi_label:
            loss = F.binary_cross_entropy(scores, labels)
        else:
            loss = F.nll_loss(scores.log(), labels)
        log_place(self, self.clips_per_epoch)
        self.log("val_loss", loss)
        self.log("val_error", self._error(scores, labels), prog_bar=True)

    def on_validation_end(self) -> None:
        """The pause does not count as training time."""
        self.clock = time.perf_counter()

    def configure_optimizers(self) -> dict[str, Any]:
        """Nesterov's momentum, as the released code."""
        return self.loop.optimizers(self.model, nesterov=True)
