"""A contact sheet: strips of frames of several videos, each with two lines of text."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from os import PathLike

import numpy as np
from matplotlib.figure import Figure

from nonlocalnet.files import replacing
from nonlocalnet.viz import plain

COLUMNS = 2
STRIP = (4.6, 0.85)  # inches, width and height of the place of a strip
TEXT = 0.36  # inches above it
MOST = 76  # characters of a line
GAP = 3  # px between the frames of a strip
GOOD, BAD = "#1a7f37", "#b4232b"


@dataclass(frozen=True, kw_only=True)
class Tile:
    """One video on the sheet."""

    name: str
    """Of the video."""
    text: str
    """What is to be said of it, one line."""
    right: bool
    """Colours that line."""
    frames: np.ndarray | None = field(repr=False)  # (F, H, W, 3) uint8
    """Shown side by side; None: there are none, and the place stays grey."""


def draw_sheet(tiles: Sequence[Tile], path: str | PathLike[str], *, title: str = "") -> None:
    """Writes the sheet as a picture (PNG; SVG or PDF by suffix), row by row.

    Raises:
        ValueError: No tile.
    """
    if not tiles:
        raise ValueError("a sheet needs one tile or more, got none")
    rows = -(-len(tiles) // COLUMNS)
    width = COLUMNS * (STRIP[0] + 0.2) + 0.1
    height = rows * (STRIP[1] + TEXT) + 0.1 + (0.35 if title else 0)
    figure = Figure(figsize=(width, height), dpi=150)
    if title:
        figure.text(0.1 / width, 1 - 0.12 / height, title, fontsize=11, va="top", weight="bold")
    for number, tile in enumerate(tiles):
        row, column = divmod(number, COLUMNS)
        left = 0.1 + column * (STRIP[0] + 0.2)
        bottom = height - (0.35 if title else 0) - (row + 1) * (STRIP[1] + TEXT)
        box = (left / width, bottom / height, STRIP[0] / width, STRIP[1] / height)
        ax = figure.add_axes(box, anchor="NW")
        ax.set_axis_off()
        if tile.frames is None:
            ax.imshow(np.full((17, 92, 3), 225, np.uint8), aspect="equal")
            ax.text(46, 8, "cannot be read", ha="center", va="center", fontsize=7, color="#666666")
        else:
            ax.imshow(_strip(tile.frames), interpolation="bilinear")
        top = (bottom + STRIP[1]) / height
        for text, colour, lift in (
            (tile.name, "#444444", 0.19),
            (tile.text, GOOD if tile.right else BAD, 0.04),
        ):
            figure.text(left / width, top + lift / height, _fitting(text), fontsize=7, color=colour)
    with replacing(path) as part:
        figure.savefig(part)


def _strip(frames: np.ndarray) -> np.ndarray:  # (F, H, W, 3) -> (H, F W + gaps, 3)
    white = np.full((frames.shape[1], GAP, 3), 255, np.uint8)
    parts = [part for frame in frames for part in (frame, white)]
    return np.concatenate(parts[:-1], axis=1)


def _fitting(text: str) -> str:
    """One line of the sheet; the middle goes first, since both ends tell more."""
    if len(text) > MOST:
        text = f"{text[: MOST // 3]} … {text[-2 * MOST // 3 + 3 :]}"
    return plain(text)
