"""Moving arrows, Figure 1 and heat: at the right places at the right moments."""

from dataclasses import dataclass

import matplotlib.image
import numpy as np
import pytest

from nonlocalnet.viz.arrows import draw_arrows
from nonlocalnet.viz.cascade import draw_cascade
from nonlocalnet.viz.heat import heat_map
from nonlocalnet.viz.moving import moving_arrows

CENTRES = np.stack(
    np.meshgrid([0.0, 3.0], np.arange(5) * 8.0 + 3.5, np.arange(8) * 8.0 + 3.5, indexing="ij"), -1
)


@dataclass
class Given:
    query: tuple[float, float, float]
    row: np.ndarray
    block: str = "res3.0"
    centres = CENTRES

    @property
    def keys(self):
        return self.centres.reshape(-1, 3)[np.argsort(-self.row, axis=None)[:1]]

    @property
    def weights(self):
        return np.sort(self.row, axis=None)[::-1][:1]


@pytest.fixture
def far():
    """From the lower left of the first frame to the upper right of the last, (3, 3.5, 59.5)."""
    row = np.zeros(CENTRES.shape[:3])
    row[1, 0, 7] = 0.8
    return Given((0.0, 35.5, 3.5), row)


FRAMES = np.full((4, 40, 64, 3), 90, np.uint8)


def yellow(picture):
    red, green, blue = np.moveaxis(picture[..., :3].astype(float), -1, 0)
    return (red > 200) & (green > 150) & (blue < 110)


def test_the_picture_plays_at_the_clips_speed_and_the_arrow_reaches_its_key(far):
    pictures = list(moving_arrows(FRAMES, [0.0, 0.5, 1.0, 1.5], far, view="arrows", fps=10))
    assert len(pictures) == 4 * 5
    assert all(p.shape == (360, 576, 3) for p in pictures)
    seen = [yellow(picture) for picture in pictures]
    assert not any(s.any() for s in seen[:10]), "the keys nearest to frames 0 and 1 get no arrow"
    assert 0 < seen[10].sum() < seen[11].sum() < seen[14].sum(), "it grows"
    rows, columns = np.nonzero(seen[-1])
    assert rows.min() / 360 == pytest.approx((3.5 + 0.5) / 40, abs=0.02)
    assert columns.max() / 576 == pytest.approx((59.5 + 0.5) / 64, abs=0.02)


def test_heat_alone_has_no_arrow_and_lies_on_its_cell(far):
    last = list(moving_arrows(FRAMES, [0.0, 0.1, 0.2, 0.3], far, view="heat", fps=10))[-1]
    hot = (last[..., 0] > 200) & (last[..., 1] < 90) & (last[..., 2] < 30)  # redder than the dot
    rows, columns = np.nonzero(hot)
    assert hot[4 * 9, 60 * 9], "the middle of the cell"
    assert rows.max() / 9 < 9 and columns.min() / 9 > 55, "and nothing beyond the next one's edge"


def test_heat_is_that_of_the_nearest_keys_and_colours_signs_apart(far):
    assert not heat_map(far.row, CENTRES, frame=1)[0][..., 3].any()
    rgba, borders = heat_map(far.row, CENTRES, frame=2)
    inner = rgba[1:-1, 1:-1]
    assert inner[0, 7, 3] > 0.8 and inner[..., 3].sum() == inner[0, 7, 3]
    assert np.array_equal(rgba[0, 1:-1], inner[0]) and np.array_equal(rgba[1:-1, -1], inner[:, 7])
    assert borders == (-8.5, 71.5, 47.5, -8.5)
    signed, _ = heat_map(far.row - 2 * far.row[:, :, ::-1], CENTRES, frame=3)
    assert signed[1, 8, 0] > signed[1, 8, 2] and signed[1, 1, 2] > signed[1, 1, 0]


def test_several_blocks_stand_under_each_other_and_many_frames_wrap(far, tmp_path):
    frames = np.repeat(FRAMES, 8, 0)
    sizes = {}
    for name, looks, panels in (("one", [far], 4), ("two", [far, far], 4), ("all", [far], 32)):
        draw_arrows(frames, looks, tmp_path / f"{name}.png", view="both", panels=panels)
        sizes[name] = matplotlib.image.imread(tmp_path / f"{name}.png").shape
    assert sizes["two"][0] == pytest.approx(2 * sizes["one"][0], abs=15)
    assert sizes["two"][1] == sizes["one"][1]
    assert sizes["all"][0] == pytest.approx(4 * sizes["one"][0], abs=40)
    assert sizes["all"][1] == pytest.approx(2 * sizes["one"][1], abs=15)


def test_figure_1_ends_in_the_last_of_its_frames(far, tmp_path):
    draw_cascade(FRAMES, far, tmp_path / "one.png")
    seen = yellow(255 * matplotlib.image.imread(tmp_path / "one.png"))
    rows, columns = np.nonzero(seen)
    assert columns.min() < 0.15 * seen.shape[1] and columns.max() > 0.9 * seen.shape[1]
    assert rows[columns.argmax()] < rows[columns.argmin()], "up, to the right"
    draw_cascade(FRAMES, far, tmp_path / "one.svg")
    assert "<svg" in (tmp_path / "one.svg").read_text(encoding="utf-8")
