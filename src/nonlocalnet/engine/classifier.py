"""A trained network as one object: file in, labels out (Sec. 4.1's test on a single video)."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from nonlocalnet.data.clips import ClipConfig, even_views
from nonlocalnet.data.video import open_video
from nonlocalnet.engine.testing import Protocol, video_scores
from nonlocalnet.models.resnet import VideoResNet
from nonlocalnet.weights.file import read


@dataclass(frozen=True)
class Prediction:
    """Scores of one video, summing to 1."""

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

    def predict(
        self, path: str | Path, views: str = "10x1", *, reader: str | None = None
    ) -> Prediction:
        """Scores of a video by the paper's test; `reader` as in `open_video`.

        Raises:
            BadVideo: The file cannot be read; the text says why.
            ValueError: `views` is not CLIPSxCROPS, or no such reader.
        """
        protocol = Protocol.parse(views)
        videos = even_views(open_video(path, reader), self.clip, protocol.clips, protocol.crops)
        return Prediction(Path(path), self.labels, video_scores(self.model, videos, self.clip))


def load(path: str | Path) -> Classifier:
    """A classifier from a model file, or from the best model of a run folder.

    Raises:
        ValueError: No such file or folder, or not a model of ours.
    """
    path = Path(path)
    if path.is_dir():
        path = path / "best.safetensors"
    model, meta = read(path)
    fields = meta["clip"].items()
    clip: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in fields}
    try:
        return Classifier(model, meta["labels"], ClipConfig(**clip), meta)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: its preprocessing is damaged ({error})") from None
