"""last.ckpt, never half written: beside the target, synced, renamed."""

import io
import os
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.plugins.io import TorchCheckpointIO

from nonlocalnet.weights.file import write_atomically


class AtomicCheckpointIO(TorchCheckpointIO):
    """Lightning's checkpoints through `write_atomically`: a full disk keeps the previous one."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | os.PathLike, storage_options: Any = None
    ) -> None:
        """Writes all of it or nothing."""
        buffer = io.BytesIO()
        torch.save(checkpoint, buffer)
        write_atomically(Path(path), buffer.getvalue())


class KeepLast(Callback):
    """Saves `path` every `every` steps and at the end of training."""

    def __init__(self, path: Path, every: int) -> None:
        self.path, self.every = path, every

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        """After a step that is a multiple of `every`."""
        if trainer.global_step % self.every == 0:
            trainer.save_checkpoint(self.path)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Whatever the step."""
        trainer.save_checkpoint(self.path)
