"""Boxes, masks and skeletons over an image."""

from collections.abc import Sequence
from os import PathLike
from typing import Protocol

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from nonlocalnet.files import replacing
from nonlocalnet.viz import plain


class Found(Protocol):
    """What is drawn, px of the image."""

    @property
    def boxes(self) -> np.ndarray:  # (N, 4): x1, y1, x2, y2
        """Corners."""
        ...

    @property
    def scores(self) -> np.ndarray:  # (N,)
        """From 0 to 1."""
        ...

    @property
    def masks(self) -> np.ndarray | None:  # (N, H, W) bool
        """Inside or not."""
        ...

    @property
    def keypoints(self) -> np.ndarray | None:  # (N, K, 3)
        """x, y and how sure: those at or below 0 are not drawn."""
        ...


def draw_detections(
    image: np.ndarray,  # (H, W, 3) uint8
    found: Found,
    names: Sequence[str],
    path: str | PathLike[str],
    *,
    skeleton: Sequence[tuple[int, int]] = (),
) -> None:
    """Writes a picture (PNG; SVG or PDF by suffix) of the image with what was found in it.

    Args:
        image: The image.
        found: Boxes with scores, and masks or keypoints.
        names: Of the objects, one each.
        path: The picture.
        skeleton: Pairs of keypoints to join, counted from 0.
    """
    height, width = image.shape[:2]
    figure = Figure(figsize=(6.4, 6.4 * height / width), dpi=200)
    ax = figure.add_axes((0, 0, 1, 1))
    ax.set_axis_off()
    shown = image / 255
    colours = [colormaps["tab10"](i % 10)[:3] for i in range(len(names))]
    if found.masks is not None:
        for mask, colour in zip(found.masks, colours, strict=True):
            shown[mask] = 0.55 * shown[mask] + 0.45 * np.array(colour)
    ax.imshow(shown, interpolation="bilinear")
    for i, (name, colour) in enumerate(zip(names, colours, strict=True)):
        x1, y1, x2, y2 = found.boxes[i] - 0.5  # edges; the centre of pixel 0 is at 0
        ax.add_patch(
            Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, edgecolor=colour, linewidth=1.5)
        )
        ax.text(
            *(x1, max(y1, 0.04 * height), f"{plain(name)} {100 * found.scores[i]:.0f} %"),
            fontsize=8,
            color="white",
            va="bottom",
            bbox={"facecolor": colour, "edgecolor": "none", "pad": 1},
        )
    for points in found.keypoints if found.keypoints is not None else ():
        sure = points[:, 2] > 0
        for a, b in skeleton:
            if sure[a] and sure[b]:
                ax.plot(*points[[a, b], :2].T, color="#ffd400", linewidth=2)
        ax.scatter(*points[sure, :2].T, s=14, color="#e0182d", edgecolors="white", zorder=3)
    ax.set_xlim(-0.5, width - 0.5)
    ax.set_ylim(height - 0.5, -0.5)
    with replacing(path) as part:
        figure.savefig(part)
