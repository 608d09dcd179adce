"""What the data did to an epoch: files that had to be replaced, and time spent waiting."""

import time
from collections.abc import Sequence
from typing import Any

import lightning.pytorch as pl

from nonlocalnet.data.sets import TrainItem

SLOW = 0.2  # share of waiting from which the cure is named


class DataReport(pl.Callback):
    """Logs the share of time spent waiting, prints each epoch's bad files, stops at too many.

    Args:
        files: Size of the training set.
        clips_per_step: Clips of an optimiser step over all processes.
        max_bad: Share of the files that may be unreadable.
        left_out: Sentences about files that are not in the set, for the first epoch's table.
    """

    def __init__(
        self, files: int, clips_per_step: int, max_bad: float, left_out: Sequence[str] = ()
    ) -> None:
        self.left_out = list(left_out)
        self.files, self.max_bad = files, max_bad
        self.steps_per_epoch = max(1, files // clips_per_step)
        self.bad: dict[str, int] = {}  # sentence -> how often
        self.waited = self.worked = 0.0
        self.said_slow = False
        self.mark = time.perf_counter()

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: TrainItem, batch_idx: int
    ) -> None:
        """The batch is there; counts its faults.

        Raises:
            ValueError: More files are unreadable than `max_bad` allows.
        """
        self.waited += self._lap()
        for sentence in "\n".join(batch.faults).split("\n"):
            if sentence:
                self.bad[sentence] = self.bad.get(sentence, 0) + 1
        if len(self.bad) > self.max_bad * self.files:
            raise ValueError(
                f"{len(self.bad)} of {self.files} training videos are unreadable, more than the "
                f"{100 * self.max_bad:g} % of --max-bad, first: {next(iter(self.bad))}; run "
                "nonlocalnet check on the folder, repair or remove them, or raise --max-bad"
            )

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: TrainItem,
        batch_idx: int,
    ) -> None:
        """A step is done; an epoch ends with its report."""
        self.worked += self._lap()
        pl_module.log("data_wait", self._share())
        whole = (batch_idx + 1) % trainer.accumulate_grad_batches == 0
        if whole and trainer.global_step % self.steps_per_epoch == 0:
            epoch = trainer.global_step // self.steps_per_epoch
            for line in self._report(epoch):
                pl_module.print(line)
            self.bad, self.waited, self.worked = {}, 0.0, 0.0

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Validation is neither waiting nor training."""
        self.mark = time.perf_counter()

    on_train_start = on_validation_end

    def _lap(self) -> float:
        before, self.mark = self.mark, time.perf_counter()
        return self.mark - before

    def _share(self) -> float:
        return self.waited / max(self.waited + self.worked, 1e-9)

    def _report(self, epoch: int) -> list[str]:
        lines = []
        if self._share() > SLOW and not self.said_slow:
            self.said_slow = True
            lines.append(
                f"epoch {epoch}: {100 * self._share():.0f} % of the time went by waiting for data; "
                "more --workers, or nonlocalnet prepare, makes it less"
            )
        if self.left_out:
            lines.append(f"epoch {epoch}: {len(self.left_out)} files were left out from the start:")
            lines += [f"  {sentence}" for sentence in self.left_out]
            self.left_out = []
        if self.bad:
            lines.append(f"epoch {epoch}: {len(self.bad)} unreadable, others took their places:")
            lines += [f"  {count} x {sentence}" for sentence, count in self.bad.items()]
        return lines
