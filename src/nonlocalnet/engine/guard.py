"""Stops at the first loss or gradient that is not finite, and keeps what is needed to see why."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor

from nonlocalnet.data.sets import TrainItem
from nonlocalnet.weights.file import save_atomically


def clips_of(batches: Sequence[TrainItem]) -> dict[str, Any]:
    """The clips and labels of a step."""
    return {
        "clips": torch.cat([batch.clip.cpu() for batch in batches]),
        "labels": torch.cat([batch.label.cpu() for batch in batches]),
    }


class Guard(pl.Callback):
    """Ends a run whose numbers went wrong, naming the step and the files of the batch.

    Beside the run's files it leaves nonfinite.pt: weights, the step and its batches, loadable with
    torch.load(weights_only=True).

    Args:
        run: The run folder.
        paths: Of the training set, in the order that `index` of a batch counts them.
        keep: What to keep of the batches of a step.
    """

    def __init__(
        self,
        run: Path,
        paths: Sequence[Path],
        keep: Callable[[list[Any]], dict[str, Any]] = clips_of,
    ) -> None:
        self.run, self.paths, self.keep = run, paths, keep
        self.batches: list[Any] = []  # of this step

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Remembers the batch until the step is done."""
        if batch_idx % trainer.accumulate_grad_batches == 0:
            self.batches.clear()
        self.batches.append(batch)

    def on_before_backward(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, loss: Tensor
    ) -> None:
        """Looks at the loss.

        Raises:
            ValueError: It is not finite.
        """
        if not torch.isfinite(loss):
            self._stop(trainer, pl_module, f"the loss is {float(loss.detach()):g}")

    def on_before_optimizer_step(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        optimizer: torch.optim.Optimizer,
    ) -> None:
        """Looks at the gradient; in half precision the loss scaler does so itself.

        Raises:
            ValueError: It is not finite.
        """
        if trainer.precision == "16-mixed":
            return
        grads = [p.grad for p in pl_module.parameters() if p.grad is not None]
        norm = torch.nn.utils.get_total_norm(grads)
        if not torch.isfinite(norm):
            self._stop(trainer, pl_module, f"the gradient's norm is {float(norm):g}")

    def _stop(self, trainer: pl.Trainer, pl_module: pl.LightningModule, what: str) -> None:
        files = [str(self.paths[i]) for b in self.batches for i in b.index.tolist()]
        path = self.run / f"nonfinite{trainer.global_rank or ''}.pt"
        model: Any = pl_module.model
        save_atomically(
            {
                "step": trainer.global_step,
                "files": files,
                **self.keep(self.batches),
                "state_dict": model.state_dict(),
            },
            path,
        )
        raise ValueError(
            f"{what} at step {trainer.global_step}; its batch came from {', '.join(files)}, and "
            f"with the weights they are in {path}; lower the learning rate, or repair those files"
        )
