"""Figure 3 as a picture: which frames it shows, and that arrows are where the look says."""

from dataclasses import dataclass, field

import matplotlib.image
import numpy as np
import pytest
from matplotlib import rcParams

from nonlocalnet.viz.arrows import draw_arrows, shown_frames


@dataclass
class Given:
    query: tuple[float, float, float]
    keys: np.ndarray
    weights: np.ndarray
    block: str = "res3.0"
    row: np.ndarray = field(default_factory=lambda: np.zeros((1, 1, 1)))
    centres: np.ndarray = field(default_factory=lambda: np.zeros((1, 1, 1, 3)))


@pytest.mark.parametrize("total", [1, 2, 3, 4, 5, 7, 16, 32, 33])
def test_the_querys_frame_is_shown_among_at_most_four_evenly_strided(total):
    for query in range(total):
        shown = shown_frames(total, query)
        assert query in shown and len(shown) == min(total, 4)
        assert shown[0] >= 0 and shown[-1] < total
        assert len(set(np.diff(shown))) <= 1


def draw(path, **look):
    frames = np.full((4, 40, 60, 3), 100, np.uint8)
    draw_arrows(frames, [Given(**look)], path)
    return matplotlib.image.imread(path)[..., :3]


def yellow(picture):
    red, green, blue = np.moveaxis(picture, -1, 0)
    return (red > 0.8) & (green > 0.6) & (blue < 0.4)


def test_an_arrow_reaches_the_frame_of_its_key_and_no_other(tmp_path):
    """One arrow inside the first of four panels leaves the other three untouched."""
    picture = draw(
        tmp_path / "one.png",
        query=(0.0, 30.0, 10.0),
        keys=np.array([[0.0, 5.0, 50.0]]),
        weights=np.array([0.5]),
    )
    seen = yellow(picture)
    quarter = picture.shape[1] // 4
    assert seen[:, :quarter].sum() > 100 and seen[:, quarter + 20 :].sum() == 0
    height = picture.shape[0]
    rows, columns = np.nonzero(seen)
    head = rows[columns > 0.7 * quarter].mean() / height
    tail = rows[columns < 0.4 * quarter].mean() / height
    assert head < 0.45 and tail > 0.5, "from the lower left to the upper right"


def test_a_stronger_key_gets_more_ink(tmp_path):
    def ink(first, second):
        picture = draw(
            tmp_path / "two.png",
            query=(1.0, 20.0, 30.0),
            keys=np.array([[0.0, 10.0, 10.0], [3.0, 10.0, 50.0]]),
            weights=np.array([first, second]),
        )
        seen = yellow(picture)
        return seen[:, : seen.shape[1] // 4].sum(), seen[:, -seen.shape[1] // 4 :].sum()

    left, right = ink(0.9, 0.1)
    assert left > 2 * right
    left, right = ink(0.1, 0.9)
    assert right > 2 * left


def test_weights_of_any_sign_and_no_keys_are_drawn(tmp_path):
    draw(
        tmp_path / "negative.png",
        query=(0.0, 0.0, 0.0),
        keys=np.array([[1.0, 5.0, 5.0], [2.0, 6.0, 6.0]]),
        weights=np.array([0.0, -0.2]),
    )
    draw(tmp_path / "none.png", query=(0.0, 0.0, 0.0), keys=np.zeros((0, 3)), weights=np.zeros(0))


@pytest.mark.parametrize(("frames", "title"), [(2, "frame 1 of 2"), (1, "the image")])
def test_a_frame_is_numbered_and_an_image_is_not(frames, title, tmp_path, monkeypatch):
    monkeypatch.setitem(rcParams, "svg.fonttype", "none")  # text stays text
    look = Given((0, 1, 1), np.array([[0.0, 2.0, 2.0]]), np.array([1.0]))
    draw_arrows(np.zeros((frames, 8, 8, 3), np.uint8), [look], tmp_path / "a.svg")
    assert f">{title}<" in (tmp_path / "a.svg").read_text(encoding="utf-8")


def test_suffix_chooses_the_format(tmp_path):
    frames = np.zeros((2, 8, 8, 3), np.uint8)
    look = Given((0, 1, 1), np.array([[1.0, 2.0, 2.0]]), np.array([1.0]))
    draw_arrows(frames, [look], tmp_path / "a.svg")
    assert "<svg" in (tmp_path / "a.svg").read_text(encoding="utf-8")
