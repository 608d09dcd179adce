"""Faithfulness: hidden places tile the clip, and what matters costs more than what does not."""

import numpy as np
import pytest
import torch
from torch import nn

from nonlocalnet.data.clips import ClipConfig
from nonlocalnet.engine.classifier import Classifier
from nonlocalnet.engine.explain import Look
from nonlocalnet.engine.faithful import Faithful, _owner, faithfulness, mean_gain

EVEN = np.arange(4) * 8 + 3.5  # px between the borders of cells: no pixel lies between two
CENTRES = np.stack(np.meshgrid([1.5, 5.5], EVEN, EVEN, indexing="ij"), -1)
CONFIG = ClipConfig(frames=8, stride=1, crop=32, short_side=(32, 32), test_short_side=32)


class Corner(nn.Module):
    """Class 1 is as likely as the first frames' top left corner is bright."""

    def __init__(self):
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(2.0))

    def forward(self, x, dense=False):
        seen = self.gain * x[:, :, :3, :8, :8].mean((1, 2, 3, 4))
        return torch.stack([-seen, seen], 1)[..., None, None, None]


def look_at(t, y, x):
    row = np.full(CENTRES.shape[:3], 0.01)
    row[t, y, x] = 0.7
    return Look(
        block="res3.0",
        query=(0.0, 0.0, 0.0),
        keys=CENTRES.reshape(-1, 3)[:1],
        weights=np.array([0.7]),
        row=row,
        centres=CENTRES,
    )


@pytest.fixture
def bright():
    frames = np.random.default_rng(0).integers(0, 60, (8, 32, 32, 3), dtype=np.uint8)
    frames[:, :8, :8] = 250
    return frames


def test_every_pixel_belongs_to_the_key_nearest_to_it(bright):
    owner = _owner(look_at(0, 0, 0), bright.shape[:3])
    assert owner.shape == bright.shape[:3]
    for number, (t, y, x) in enumerate(CENTRES.reshape(-1, 3)):
        mine = np.argwhere(owner == number)
        assert len(mine) == 4 * 8 * 8
        assert (np.abs(mine - (t, y, x)).max(0) <= (1.5, 3.5, 3.5)).all()


def test_hiding_what_decides_costs_the_score_and_hiding_the_rest_does_not(bright):
    classifier = Classifier(Corner(), ["dark", "bright"], CONFIG, {})
    tried = faithfulness(classifier, bright, look_at(0, 0, 0), draws=12)
    assert (tried.label, tried.places, tried.keys) == ("bright", 1, 32)
    assert tried.score > 0.9 and tried.attended > 0.3
    assert np.abs(tried.chance).max() == 0, "no other place is looked at by this network"
    assert tried.gain == tried.attended
    assert "Hiding the 1 places of 32 that it looks at most" in tried.describe()
    elsewhere = faithfulness(classifier, bright, look_at(1, 3, 2), draws=60)
    assert elsewhere.attended == 0 and elsewhere.gain < 0, "an arrow to the wrong place is told"


def test_the_same_seed_hides_the_same_places(bright):
    classifier = Classifier(Corner(), ["dark", "bright"], CONFIG, {})
    one, two, other = (
        faithfulness(classifier, bright, look_at(1, 3, 2), draws=40, seed=s).chance
        for s in (0, 0, 1)
    )
    assert one == two != other


def test_the_interval_of_many_videos_holds_their_mean():
    rng = np.random.default_rng(0)
    found = [
        Faithful(label="a", score=1.0, places=1, keys=9, attended=float(d), chance=(0.0, 0.1))
        for d in rng.normal(0.3, 0.1, 40)
    ]
    mean, (low, high) = mean_gain(found)
    assert low < mean < high and mean == pytest.approx(np.mean([f.gain for f in found]))
    assert high - low == pytest.approx(2 * 1.96 * 0.1 / 40**0.5, rel=0.35)


def test_no_draw_is_refused(bright):
    classifier = Classifier(Corner(), ["dark", "bright"], CONFIG, {})
    with pytest.raises(ValueError, match="draws must be 1 or more, got 0"):
        faithfulness(classifier, bright, look_at(0, 0, 0), draws=0)
