"""Features instead of labels: what the classifier sees of each sliding window of a video.

A vector is the input of the last layer, the average of the last stage over time and place
(Table 1), so `model.fc(vector)` is the window's logits.
"""

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch

from nonlocalnet.data.check import written
from nonlocalnet.data.clips import to_input
from nonlocalnet.data.video import open_video
from nonlocalnet.data.windows import sliding_windows
from nonlocalnet.engine.classifier import Classifier
from nonlocalnet.nn.probe import unnoticed


@dataclass(frozen=True, kw_only=True)
class Features:
    """One vector for each window of a video."""

    vectors: np.ndarray = field(repr=False)  # (W, D) float32
    start: np.ndarray  # (W,) float64
    """Seconds."""
    end: np.ndarray  # (W,) float64
    """Seconds."""
    layer: str
    """Where in the network they come from."""


def features(
    classifier: Classifier,
    source: str | Path | np.ndarray,
    *,
    window: float | None = None,
    every: float | None = None,
    reader: str | None = None,
    fps: float = 30.0,
) -> Features:
    """The features of a video, one window per forward pass.

    Args:
        classifier: From `load`.
        source: See `open_video`.
        window: See `sliding_windows`.
        every: See `sliding_windows`.
        reader: See `open_video`.
        fps: See `open_video`.

    Raises:
        BadVideo: The file cannot be read.
        ValueError: See `sliding_windows`.
    """
    model = classifier.model
    windows = sliding_windows(
        open_video(source, reader, fps=fps), classifier.clip, window=window, every=every
    )
    device = next(model.parameters()).device
    vectors = np.empty((len(windows), model.fc.in_features), np.float32)
    with unnoticed(model):
        for row, clip in enumerate(windows.read()):
            x = to_input(torch.from_numpy(clip)[None].to(device), classifier.clip)
            vectors[row] = model.features(x).mean((2, 3, 4))[0].float().cpu().numpy()
    return Features(
        vectors=vectors,
        start=windows.start,
        end=windows.end,
        layer=f"{model.stages[-1]}, mean over time and place",
    )


def settings_key(classifier: Classifier, path: Path, *settings: object) -> str:
    """A fingerprint of what a video's features follow from: weights, clip, file and settings."""
    digest = hashlib.sha256(repr((written(path), asdict(classifier.clip), settings)).encode())
    # The logits of a fixed input stand for the weights.
    digest.update(json.dumps(classifier.metadata.get("probe")).encode())
    return digest.hexdigest()
