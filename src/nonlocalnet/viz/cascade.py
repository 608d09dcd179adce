"""Figure 1: frames one behind the other, and the few strongest arrows through spacetime."""

from os import PathLike

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Polygon
from matplotlib.transforms import Affine2D

from nonlocalnet.files import replacing
from nonlocalnet.viz.arrows import Looks, draw_arrow, draw_dot, shares, shown_frames

STRONGEST = 6  # arrows
WIDTH = 4.4  # inches
SHEAR = 0.25  # px down for each px to the right, as seen from the side
SQUEEZE = 0.72  # of the width, seen from the side
OVERLAP = 0.15  # of a frame's width that the next one hides


def draw_cascade(
    frames: np.ndarray,  # (T, H, W, 3) uint8
    look: Looks,
    path: str | PathLike[str],
    *,
    panels: int = 4,
) -> None:
    """Writes a picture (PNG; SVG or PDF by suffix) in the manner of Figure 1.

    Args:
        frames: The whole clip.
        look: Places and weights.
        path: The picture.
        panels: How many frames to show.
    """
    shown = shown_frames(len(frames), round(look.query[0]), panels)
    height, width = frames.shape[1:3]
    step = (1 - OVERLAP) * width * SQUEEZE
    extent = (step * (len(shown) - 1) + width * SQUEEZE, height + SHEAR * width)
    figure = Figure(figsize=(WIDTH, WIDTH * extent[1] / extent[0] + 0.1), dpi=320)
    ax: Axes = figure.add_axes((0.01, 0.01, 0.98, 0.98))
    ax.set(xlim=(0, extent[0]), ylim=(extent[1], 0), aspect="equal")
    ax.set_axis_off()

    def place(panel: int, y: float, x: float) -> tuple[float, float]:
        x, y = x + 0.5, y + 0.5
        return panel * step + SQUEEZE * x, y + SHEAR * (width - x)

    for panel, frame in enumerate(shown):
        image = ax.imshow(
            frames[frame], extent=(0, width, height, 0), interpolation="bilinear", zorder=panel
        )
        sheared = Affine2D.from_values(SQUEEZE, -SHEAR, 0, 1, panel * step, SHEAR * width)
        image.set_transform(sheared + ax.transData)
        corners = np.array([(0, 0), (width, 0), (width, height), (0, height)])
        border = Polygon(
            sheared.transform(corners), fill=False, edgecolor="white", lw=1.2, zorder=panel + 0.1
        )
        ax.add_patch(border)
    ax.set(xlim=(0, extent[0]), ylim=(extent[1], 0))  # imshow moved them

    def nearest(frame: float) -> int:
        return int(np.abs(np.array(shown) - frame).argmin())

    tail = place(nearest(look.query[0]), *look.query[1:])
    share = shares(look)
    order = np.argsort(-look.weights, kind="stable")[:STRONGEST]
    for key in reversed(order):
        frame, y, x = (float(value) for value in look.keys[key])
        draw_arrow(figure, ax, tail, ax, place(nearest(frame), y, x), float(share[key]))
    draw_dot(ax, *tail)
    with replacing(path) as part:
        figure.savefig(part)
