"""last.ckpt and best.safetensors, never half written: beside the target, synced, renamed."""

import math
import os
from collections.abc import Callable
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.plugins.io import TorchCheckpointIO

from nonlocalnet.models.resnet import VideoResNet
from nonlocalnet.weights.file import save_atomically


class AtomicCheckpointIO(TorchCheckpointIO):
    """Lightning's checkpoints through `save_atomically`: a full disk keeps the previous one."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | os.PathLike, storage_options: Any = None
    ) -> None:
        """Writes all of it or nothing."""
        save_atomically(checkpoint, Path(path))


def read_last(path: Path) -> dict[str, Any]:
    """What a last.ckpt holds, mapped into memory.

    Raises:
        ValueError: It is damaged.
    """
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except (OSError, EOFError, RuntimeError, UnpicklingError):
        raise ValueError(
            f"{path}: damaged or cut off, so the run cannot go on from it; copy it again, or "
            "start in another folder"
        ) from None


class KeepLast(Callback):
    """Saves `path` every `every` steps, after each validation, and at the end of training.

    Stands last among the callbacks: what others learnt from a validation is in its checkpoint. A
    step that is followed by a validation is saved after it, so a run that is killed in between
    does both again.
    """

    def __init__(self, path: Path, every: int, validate_every: int) -> None:
        self.path, self.every, self.validate_every = path, every, validate_every
        self.saved = 0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The checkpoint that a run goes on from is not written again in the middle of a step."""
        self.saved = trainer.global_step

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        """After a step that is a multiple of `every` and not validated."""
        step = trainer.global_step
        if step % self.every == 0 and step % self.validate_every and step != self.saved:
            self._save(trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """With what the validation found."""
        self._save(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Whatever the step."""
        if trainer.global_step != self.saved:
            self._save(trainer)

    def _save(self, trainer: Trainer) -> None:
        self.saved = trainer.global_step
        trainer.save_checkpoint(self.path)


class KeepBest(Callback):
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

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Keeps these weights when they are the best so far."""
        error = float(trainer.callback_metrics.get("val_error", math.inf))
        if trainer.is_global_zero and (not self.choose or error < self.lowest):
            self.lowest = error
            self.write(pl_module.model)  # type: ignore[arg-type]

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The last weights, unless validation chose others."""
        if trainer.is_global_zero and not (self.choose and self.path.exists()):
            self.write(pl_module.model)  # type: ignore[arg-type]

    def state_dict(self) -> dict[str, Any]:
        """Travels in the checkpoint, so that a resumed run knows the best so far."""
        return {"lowest": self.lowest}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """The other way."""
        self.lowest = state_dict["lowest"]
