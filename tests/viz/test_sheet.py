"""The contact sheet: every strip at its place, in reading order."""

import numpy as np
import pytest
from matplotlib.image import imread

from nonlocalnet.viz.sheet import Tile, draw_sheet

COLOURS = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 0, 255), (0, 255, 255)]


def tile(frames, text="a 1 %, taken for $b$ 98 %"):
    return Tile(name="path/" + "x" * 200 + ".mp4", text=text, right=False, frames=frames)


def where(path, colour):
    """Mean place (y, x) of a colour as shares of the picture, and how many pixels have it."""
    picture = (imread(path)[..., :3] * 255).round().astype(int)
    hits = np.argwhere((np.abs(picture - colour) < 40).all(-1))
    return hits.mean(0) / picture.shape[:2], len(hits)


def test_tiles_are_read_like_a_page(tmp_path):
    tiles = [tile(np.full((2, 40, 60, 3), colour, np.uint8)) for colour in COLOURS]
    draw_sheet(tiles, tmp_path / "s.png", title="worst")
    places = [where(tmp_path / "s.png", colour) for colour in COLOURS]
    assert min(count for _, count in places) > 5000
    for number, ((y, x), _) in enumerate(places):
        assert (x < 0.5) == (number % 2 == 0)
        assert number // 2 / 3 < y < (number // 2 + 1) / 3 + 0.1


def test_frames_of_a_video_run_from_left_to_right(tmp_path):
    frames = np.stack([np.full((40, 50, 3), colour, np.uint8) for colour in COLOURS[:3]])
    draw_sheet([tile(frames)], tmp_path / "s.png")
    places = [where(tmp_path / "s.png", colour)[0][1] for colour in COLOURS[:3]]
    assert places == sorted(places)


def test_a_video_that_is_gone_keeps_its_place(tmp_path):
    green = np.full((1, 40, 60, 3), (0, 255, 0), np.uint8)
    draw_sheet([tile(None), tile(green)], tmp_path / "s.png")
    assert where(tmp_path / "s.png", (0, 255, 0))[0][1] > 0.5
    assert where(tmp_path / "s.png", (225, 225, 225))[0][1] < 0.5


def test_no_tile_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="one tile or more"):
        draw_sheet([], tmp_path / "s.png")
