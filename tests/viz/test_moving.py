"""Moving arrows, Figure 1 and heat: at the right places at the right moments."""

from dataclasses import dataclass, field

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
    centres: np.ndarray = field(default_factory=lambda: CENTRES)
    strongest: int = 1

    @property
    def keys(self):
        order = np.argsort(-self.row, axis=None)
        return self.centres.reshape(-1, 3)[order[: self.strongest]]

    @property
    def weights(self):
        return np.sort(self.row, axis=None)[::-1][: self.strongest]


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
    assert not any(s.any() for s in seen[:7]), "the keys nearest to frames 0 and 1 get no arrow"
    assert 0 < seen[7].sum() < seen[8].sum() < seen[9].sum() < seen[10].sum(), "it grows"
    assert seen[10].sum() == seen[19].sum(), "it stays with its keys"
    rows, columns = np.nonzero(seen[-1])
    assert rows.min() / 360 == pytest.approx((3.5 + 0.5) / 40, abs=0.02)
    assert columns.max() / 576 == pytest.approx((59.5 + 0.5) / 64, abs=0.02)


def test_an_arrow_to_a_key_of_a_single_frame_arrives_and_can_be_seen():
    """Where every frame has its keys, arrows once began anew with each and never arrived."""
    times = np.arange(16.0)
    centres = np.stack(np.meshgrid(times, [19.5], [3.5, 59.5], indexing="ij"), -1)
    row = np.zeros((16, 1, 2))
    row[8, 0, 1] = 1.0
    frames = np.full((16, 40, 64, 3), 90, np.uint8)
    look = Given((2.0, 19.5, 3.5), row, centres=centres)
    pictures = list(moving_arrows(frames, times / 15, look, view="arrows", fps=10))
    assert len(pictures) == 16 * 2, "slower than it was filmed: five frames in a second"
    reach = [np.nonzero(yellow(p))[1].max(initial=0) / 576 for p in pictures]
    assert reach[:13] == [0] * 13 and 0 < reach[13] < reach[15] < reach[16]
    for arrived in reach[16:18]:
        assert arrived == pytest.approx(60 / 64, abs=0.02)
    assert reach[22:] == [0] * 10, "and it has faded"


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


def test_where_all_weights_are_below_zero_they_still_differ(far):
    """A dot product's may be; the row's largest is then no measure of strength."""
    row = -np.abs(far.row)
    row[0, 1, 1] = row.min() / 10
    rgba = [heat_map(row, CENTRES, frame)[0][1:-1, 1:-1, 3] for frame in (0, 2)]
    assert rgba[1][0, 7] > 0.7 and 0 < rgba[0][1, 1] < 0.3
    assert not rgba[1][1, 1]


def test_no_weight_is_lost_between_the_frames_that_are_shown():
    """As with arrows: what lies in a frame that is not shown is seen in the nearest one that is."""
    times = np.arange(8.0)
    centres = np.stack(np.meshgrid(times, [3.5, 11.5], [3.5, 11.5], indexing="ij"), -1)
    row = np.zeros((8, 2, 2))
    row[3, 0, 1], row[4, 1, 0], row[2, 0, 1] = 0.6, -0.3, 0.1

    def alpha(frame, shown):
        return heat_map(row, centres, frame, shown)[0][1:-1, 1:-1]

    first, second = (alpha(frame, [0, 4]) for frame in (0, 4))
    assert not alpha(0, [])[..., 3].any(), "alone it shows its own keys"
    assert not first[1, 0, 3] and first[0, 1, 3], "0.1, of frame 2"
    assert second[0, 1, 3] > first[0, 1, 3], "0.6, of frame 3, which is nearer to 4"
    assert second[1, 0, 2] > second[1, 0, 0], "below zero"
    row, centres = row[[3, 4]], centres[[1, 6]]
    assert alpha(0, [0, 2, 4, 6])[0, 1, 3]
    assert alpha(4, [0, 2, 4, 6])[1, 0, 3], "none is its own: the nearest"


def test_the_dot_lies_above_the_arrows_and_is_a_ring_in_other_frames(far):
    """Twenty arrows that start in one place once covered it."""
    many = Given((0.0, 19.5, 31.5), np.full(CENTRES.shape[:3], 0.1), strongest=80)
    first, *_, last = moving_arrows(FRAMES, [0.0, 0.4, 0.8, 1.2], many, view="arrows", fps=10)
    middle = np.s_[20 * 9 - 2 : 20 * 9 + 2, 32 * 9 - 2 : 32 * 9 + 2]
    red = (224, 24, 45)
    assert np.abs(np.median(first[middle], (0, 1)) - red).max() < 12
    assert np.abs(np.median(last[middle], (0, 1)) - red).max() > 40


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
