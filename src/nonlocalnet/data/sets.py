"""Samples as a torch data set: item (epoch, index) is a function of the seed and nothing else."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from nonlocalnet.data.charades import target
from nonlocalnet.data.clips import ClipConfig, Views, training_view, video_views
from nonlocalnet.data.folder import Sample
from nonlocalnet.data.video import BadVideo

SUBSTITUTES = 20  # tries before a set is given up


class TrainItem(NamedTuple):
    """One training example; batches stack the tensors and list the sentences."""

    clip: Tensor  # (T, H, W, 3) uint8
    label: Tensor  # () int64; of several labels per video (classes,) float32, 1 for each it has
    index: Tensor  # () int64, into the samples
    faults: str
    """Why other samples had to be replaced by this one, one line each."""


class TrainClips(torch.utils.data.Dataset[TrainItem]):
    """Random clips (Sec. 4.1); indexed by (epoch, index), so no worker or call order matters.

    Args:
        samples: Labelled videos.
        config: The clips.
        seed: Of all that is drawn.
        classes: How many there are, where a video may have several labels: a clip then has those
            of the actions that overlap it, from its first frame to its last.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        config: ClipConfig,
        seed: int,
        classes: int | None = None,
    ) -> None:
        self.samples, self.config, self.seed = samples, config, seed
        self.classes = classes

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
                view = training_view(sample.video, self.config, rng)
                label = self._label(sample, view.numbers)
            except BadVideo as error:
                faults.append(" ".join(str(error).split()))
                if len(faults) == SUBSTITUTES:
                    raise
                index = int(rng.integers(len(self.samples)))
                continue
            return TrainItem(
                torch.from_numpy(view.frames),
                label,
                torch.tensor(index),
                "\n".join(faults),
            )

    def _label(self, sample: Sample, numbers: np.ndarray) -> Tensor:
        if self.classes is None:
            return torch.tensor(sample.label)
        seconds = sample.video.seconds
        first, last = float(seconds[numbers.min()]), float(seconds[numbers.max()])
        return torch.from_numpy(target(sample.actions, first, last, self.classes))


def video_target(sample: Sample, classes: int) -> Tensor:  # (classes,) float32
    """1 for each label that a video has at any time, else 0: what a test compares scores with."""
    return torch.from_numpy(target(sample.actions, -math.inf, math.inf, classes))


class TestItem(NamedTuple):
    """One video with all its views, or the sentence that says why it has none."""

    index: int
    views: Views | None
    fault: str


class TestVideos(torch.utils.data.Dataset[TestItem]):
    """Whole videos for the test: `views` of each, see `data.clips.video_views`."""

    __test__ = False  # not a test case, whatever pytest thinks of the name

    def __init__(
        self,
        samples: Sequence[Sample],
        config: ClipConfig,
        views: tuple[int, int] | None,
        seed: int = 0,
    ) -> None:
        self.samples, self.config, self.views, self.seed = samples, config, views, seed

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> TestItem:
        try:
            video = self.samples[index].video
            views = video_views(video, self.config, self.views, self.seed, index)
        except ValueError as error:
            return TestItem(index, None, str(error))
        return TestItem(index, views, "")
