"""Is the picture evidence? What the score loses when the places it points at are hidden.

The k places with the largest weights are painted over in the input, and so are k others drawn at
random; a place is what of the clip lies nearest to a key. Where the arrows matter, hiding their
ends costs more of the score than hiding as much anywhere else.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from nonlocalnet.engine.classifier import Classifier
from nonlocalnet.engine.explain import Look
from nonlocalnet.engine.statistics import RESAMPLES, interval
from nonlocalnet.engine.testing import clip_scores
from nonlocalnet.nn.probe import unnoticed

DRAWS = 20
SHARE = 0.1  # of all keys, hidden at most


@dataclass(frozen=True, kw_only=True)
class Faithful:
    """Drops of the score of the clip's best label, as shares of 1."""

    label: str
    score: float
    """With nothing hidden."""
    places: int
    """k, of so many hidden at a time."""
    keys: int
    """Places in all."""
    attended: float
    """Drop with the k strongest places hidden."""
    chance: tuple[float, ...]
    """Drops with k random ones hidden, one for each draw."""

    @property
    def gain(self) -> float:
        """How much more the attended places cost than random ones do on average."""
        return self.attended - float(np.mean(self.chance))

    def describe(self) -> str:
        """One sentence for people."""
        low, high = interval(np.array(self.chance))
        return (
            f"Hiding the {self.places} places of {self.keys} that it looks at most changes the "
            f"score of {self.label} ({self.score:.0%}) by {_points(-self.attended)} points; "
            f"hiding {self.places} random others by {_points(-float(np.mean(self.chance)))} on "
            f"average, 95 % of {len(self.chance)} draws between {_points(-high)} and "
            f"{_points(-low)}."
        )


def faithfulness(
    classifier: Classifier,
    frames: np.ndarray,  # (T, H, W, 3) uint8
    look: Look,
    *,
    draws: int = DRAWS,
    seed: int = 0,
) -> Faithful:
    """What hiding the places of a look costs, against as many random ones.

    As many places are hidden as the look has keys, but a tenth of all at most. What hides them is
    the clip's mean colour.

    Args:
        classifier: Whose score is watched.
        frames: The clip that was looked into, as the network sees it.
        look: One block's, from `explain` of one clip or from `look`.
        draws: How many times random places are hidden.
        seed: Of these.

    Raises:
        ValueError: No draw.
    """
    if draws < 1:
        raise ValueError(f"draws must be 1 or more, got {draws}")
    keys = look.row.size
    count = max(min(len(look.keys), int(SHARE * keys)), 1)
    order = np.argsort(-look.row, axis=None, kind="stable")
    rng = np.random.default_rng(seed)
    hidden = [order[:count]]
    hidden += [rng.choice(order[count:], count, replace=False) for _ in range(draws)]
    owner = _owner(look, frames.shape[:3])
    colour = torch.from_numpy(frames.mean((0, 1, 2)).round().astype(np.uint8))
    clip = torch.from_numpy(frames)
    with unnoticed(classifier.model):
        whole = _scores(classifier, clip)
        best = int(whole.argmax())
        scores = []
        for places in hidden:
            covered = torch.from_numpy(np.isin(owner, places))
            scores.append(
                float(_scores(classifier, torch.where(covered[..., None], colour, clip))[best])
            )
    drops = [float(whole[best]) - score for score in scores]
    return Faithful(
        label=classifier.labels[best],
        score=float(whole[best]),
        places=count,
        keys=keys,
        attended=drops[0],
        chance=tuple(drops[1:]),
    )


def mean_gain(found: Sequence[Faithful]) -> tuple[float, list[float]]:
    """The mean over videos of `Faithful.gain`, and its 95 % bootstrap interval.

    Example:
        >>> one = Faithful(label="a", score=1.0, places=1, keys=9, attended=0.5, chance=(0.25,))
        >>> mean_gain([one, one])
        (0.25, [0.25, 0.25])
    """
    gains = np.array([each.gain for each in found])
    rng = np.random.default_rng(0)
    drawn = rng.choice(gains, (RESAMPLES, len(gains))).mean(1)
    return float(gains.mean()), interval(drawn)


def _points(share: float) -> str:
    return f"{round(100 * share, 1) + 0.0:+.1f}"  # without a minus before zero


def _scores(classifier: Classifier, clip: Tensor) -> Tensor:
    device = next(classifier.model.parameters()).device
    return clip_scores(
        classifier.model, clip[None].to(device), classifier.clip, classifier.multi_label
    )[0].cpu()


def _owner(look: Look, shape: Sequence[int]) -> np.ndarray:  # (T, H, W) int
    """For each pixel of the clip, the number of the key nearest to it."""
    axes = (look.centres[:, 0, 0, 0], look.centres[0, :, 0, 1], look.centres[0, 0, :, 2])
    nearest = [
        np.abs(np.arange(size)[:, None] - axis).argmin(1)
        for size, axis in zip(shape, axes, strict=True)
    ]
    grid = np.meshgrid(*nearest, indexing="ij")
    return np.ravel_multi_index(tuple(grid), look.row.shape)
