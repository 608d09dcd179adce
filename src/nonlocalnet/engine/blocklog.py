"""What the non-local blocks do while they learn: a few numbers of each, at every validation."""

import warnings
from typing import Any

import lightning.pytorch as pl

from nonlocalnet.data.clips import ClipConfig, to_input
from nonlocalnet.data.sets import TrainItem
from nonlocalnet.nn.stats import block_stats

STATS = ("gamma", "branch_ratio", "entropy")
"""Of `nn.stats.BlockStats`: scale of the last batch norm, share of the output, spread of a row."""


class BlockLog(pl.Callback):
    """Logs NAME.gamma, NAME.branch_ratio and NAME.entropy of every block, on one training clip."""

    def __init__(self, config: ClipConfig) -> None:
        self.config = config
        self.batch: TrainItem | None = None
        self.said: set[str] = set()

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: TrainItem, batch_idx: int
    ) -> None:
        """Remembers the newest batch."""
        self.batch = batch

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Logs the numbers; a saturated block is said once."""
        if self.batch is None:
            return
        model: Any = pl_module.model
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            found = block_stats(model, to_input(self.batch.clip[:1], self.config))
        for name, stats in found.items():
            for key in STATS:
                if (value := getattr(stats, key)) is not None:
                    pl_module.log(f"{name}.{key}", float(value))
        for sentence in {str(warning.message) for warning in caught}:
            subject = sentence.partition("'")[2].partition("'")[0]
            if subject not in self.said:
                self.said.add(subject)
                pl_module.print(sentence)
