"""Samples as a torch data set: item (epoch, index) is a function of the seed and nothing else."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from nonlocalnet.data.clips import ClipConfig, Views, even_views, training_clip
from nonlocalnet.data.folder import Sample
from nonlocalnet.data.video import BadVideo

SUBSTITUTES = 20  # tries before a set is given up


class TrainItem(NamedTuple):
    """One training example; batches stack the tensors and list the sentences."""

    clip: Tensor  # (T, H, W, 3) uint8
    label: Tensor  # () int64
    index: Tensor  # () int64, into the samples
    faults: str
    """Why other samples had to be replaced by this one, one line each."""


class TrainClips(torch.utils.data.Dataset[TrainItem]):
    """Random clips (Sec. 4.1); indexed by (epoch, index), so no worker or call order matters."""

    def __init__(self, samples: Sequence[Sample], config: ClipConfig, seed: int) -> None:
        self.samples, self.config, self.seed = samples, config, seed

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, key: tuple[int, int]) -> TrainItem:
        """The clip that `index` shows in `epoch`; an unreadable file is replaced and named.

        Which sample stands in is drawn from (seed, epoch, index), as everything else.

        Raises:
            BadVideo: Neither this file nor any of its substitutes can be read.
        """
        epoch, index = key
        rng = np.random.default_rng((self.seed, epoch, index))
        faults: list[str] = []
        while True:
            sample = self.samples[index]
            try:
                clip = training_clip(sample.video, self.config, rng)
            except BadVideo as error:
                faults.append(" ".join(str(error).split()))
                if len(faults) == SUBSTITUTES:
                    raise
                index = int(rng.integers(len(self.samples)))
                continue
            return TrainItem(
                torch.from_numpy(clip),
                torch.tensor(sample.label),
                torch.tensor(index),
                "\n".join(faults),
            )


class TestItem(NamedTuple):
    """One video with all its views, or the sentence that says why it has none."""

    index: int
    views: Views | None
    fault: str


class TestVideos(torch.utils.data.Dataset[TestItem]):
    """Whole videos for the test: `views` = (clips, crops) of each."""

    __test__ = False  # not a test case, whatever pytest thinks of the name

    def __init__(
        self, samples: Sequence[Sample], config: ClipConfig, views: tuple[int, int]
    ) -> None:
        self.samples, self.config, self.views = samples, config, views

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> TestItem:
        try:
            views = even_views(self.samples[index].video, self.config, *self.views)
        except ValueError as error:
            return TestItem(index, None, str(error))
        return TestItem(index, views, "")
