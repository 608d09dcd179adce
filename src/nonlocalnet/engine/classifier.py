"""A trained network as one object: file in, labels out (Sec. 4.1's test on a single video)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nonlocalnet.data.clips import ClipConfig, video_views
from nonlocalnet.data.video import open_video
from nonlocalnet.engine.protocol import Combine, Protocol
from nonlocalnet.engine.testing import video_scores
from nonlocalnet.models.resnet import VideoResNet
from nonlocalnet.weights.file import read


@dataclass(frozen=True)
class Prediction:
    """Scores of one video: they sum to 1, or each is from 0 to 1 where it may have several labels.

    The latter by `Classifier.multi_label`.
    """

    path: Path
    labels: Sequence[str] = field(repr=False)
    scores: Tensor = field(repr=False)  # (classes,)

    def top(self, k: int = 5) -> list[tuple[str, float]]:
        """The k best labels with their scores, best first."""
        values, order = self.scores.sort(descending=True, stable=True)
        return [
            (self.labels[int(i)], float(v))
            for i, v in zip(order[:k].tolist(), values[:k].tolist(), strict=True)
        ]


@dataclass(frozen=True)
class Classifier:
    """A network with its labels and preprocessing, as `load` returns it."""

    model: VideoResNet
    labels: list[str]
    clip: ClipConfig
    metadata: dict[str, Any] = field(repr=False)

    @property
    def multi_label(self) -> bool:
        """Trained on several labels per video: a sigmoid for each class instead of a softmax."""
        return bool(self.metadata.get("multi_label", False))

    @property
    def combine(self) -> Combine:
        """How its recipe joins the views of a video: mean, or max where an action fills a part."""
        return self.metadata.get("combine", "mean")

    @property
    def views(self) -> str:
        """The views of a video in its recipe's test."""
        return self.metadata.get("views", "10x1")

    def predict(
        self,
        source: str | Path | np.ndarray,
        views: str | None = None,
        combine: Combine | None = None,
        *,
        reader: str | None = None,
        fps: float = 30.0,
    ) -> Prediction:
        """Scores of a video by the paper's test.

        Args:
            source: A video, a folder of frames, a .npy file, or frames (F, H, W, 3) uint8.
            views: CLIPSxCROPS, or 1-clip-jitter (as the first video of a set has it); None: as its
                recipe says, mostly 10x1.
            combine: Of the views: "mean", or "max", the largest score of each class; None: as its
                recipe says.
            reader: As in `open_video`.
            fps: Frames per second where the source does not say (images and arrays).

        Raises:
            BadVideo: It cannot be read; the text says why.
            ValueError: `views` or `combine` is none of these, or no such reader.
        """
        protocol = Protocol.parse(views or self.views, combine or self.combine)
        video = open_video(source, reader, fps=fps)
        seen = video_views(video, self.clip, protocol.views, protocol.seed)
        scores = video_scores(self.model, seen, self.clip, self.multi_label, protocol.combine)
        return Prediction(video.path, self.labels, scores.cpu())


def load(path: str | Path, device: str | torch.device | None = None) -> Classifier:
    """A classifier from a model file, or from the best model of a run folder.

    Args:
        path: The file or the folder.
        device: Where its network lives; None is the GPU where there is one, else the CPU.

    Raises:
        ValueError: No such file or folder, or not a model of ours.
    """
    path = Path(path)
    if path.is_dir():
        path = path / "best.safetensors"
    model, meta = read(path)
    model.to(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    try:
        return Classifier(model, meta["labels"], clip_of(meta), meta)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: its preprocessing is damaged ({error})") from None


def clip_of(metadata: Mapping[str, Any]) -> ClipConfig:
    """The preprocessing in a model file's metadata, where tuples became lists.

    Raises:
        TypeError: Fields that it does not have.
        ValueError: Values that cannot be.
    """
    fields = metadata["clip"].items()
    clip: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in fields}
    return ClipConfig(**clip)
