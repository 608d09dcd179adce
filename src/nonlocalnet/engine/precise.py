"""Batch norm measured anew before each validation, as the released code does (precise BN)."""

from collections.abc import Callable
from typing import Any

import lightning.pytorch as pl
from torch.utils.data import DataLoader

from nonlocalnet.data.clips import ClipConfig, to_input
from nonlocalnet.data.sets import TrainItem
from nonlocalnet.nn.batchnorm import precise_bn


class PreciseBN(pl.Callback):
    """Sets running statistics over training batches; every process measures the same ones.

    Args:
        batches: Says which, at each validation; a function of the step.
        config: Normalises the clips.
    """

    def __init__(self, batches: Callable[[], DataLoader[TrainItem]], config: ClipConfig) -> None:
        self.batches, self.config = batches, config

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Before the first video."""
        model: Any = pl_module.model
        clips = (batch.clip.to(pl_module.device) for batch in self.batches())
        precise_bn(model, (to_input(clip, self.config) for clip in clips))
