"""The confusion matrix as a picture: what is written in it, and that a class may be empty."""

import re

import numpy as np
from matplotlib.image import imread

from nonlocalnet.viz.confusion import draw_confusion


def words(path):
    """Every text of an SVG: matplotlib writes each as a comment before its outlines."""
    return re.findall(r"<!-- (.*?) -->", path.read_text(encoding="utf-8"))


def test_cells_say_their_counts_and_axes_their_names(tmp_path):
    counts = np.array([[31, 2, 0], [0, 47, 5], [0, 0, 0]])
    draw_confusion(counts, ["bowling", "cost $5 or $6", "x" * 60], tmp_path / "c.svg")
    found = words(tmp_path / "c.svg")
    assert [text for text in found if text.isdigit() and text != "0"] == ["31", "2", "47", "5"]
    assert found.count("bowling") == 2
    assert found.count("cost $5 or $6") == 2
    assert found.count("x" * 39 + "…") == 2


def test_of_many_classes_some_names_are_written_and_no_counts(tmp_path):
    draw_confusion(np.eye(200, dtype=int) * 77, [f"c{k}" for k in range(200)], tmp_path / "c.svg")
    found = words(tmp_path / "c.svg")
    assert "77" not in found
    assert [text for text in found if text.startswith("c")] == [
        f"c{k}" for k in range(0, 200, 2)
    ] * 2


def test_the_dark_cells_are_where_the_videos_went(tmp_path):
    middles = []
    for taken in (0, 1):
        counts = np.zeros((2, 2), int)
        counts[:, taken] = 9
        draw_confusion(counts, ["a", "b"], tmp_path / "c.png")
        red, _, blue = np.moveaxis(imread(tmp_path / "c.png")[..., :3], -1, 0)
        dark = np.flatnonzero((blue > 0.3) & (red < 0.1)) % red.shape[1]  # their columns
        assert len(dark) > 5000
        middles.append(np.median(dark) / red.shape[1])
    assert 0.1 < middles[0] < middles[1] - 0.2 < 0.6
