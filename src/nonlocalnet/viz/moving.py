"""A clip that plays while arrows reach for the places that one position attends to."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from nonlocalnet.viz.arrows import (
    PANEL_INCHES,
    Looks,
    View,
    draw_arrow,
    draw_dot,
    shares,
    show_frame,
)

FPS = 15
SIDE = 360  # px, shorter side of the pictures
SLOWEST = 0.2  # s that a frame is shown at least: a network may have keys in every frame
GROWTH = 0.4  # s in which an arrow reaches its place, and later fades


def moving_arrows(
    frames: np.ndarray,  # (T, H, W, 3) uint8
    seconds: Sequence[float],  # (T,)
    look: Looks,
    *,
    view: View = "both",
    fps: int = FPS,
) -> Iterator[np.ndarray]:  # (h, w, 3) uint8, both even
    """Pictures of the clip at its own speed, or slower: five of its frames in a second at most.

    An arrow arrives when the frames nearest in time to its key begin, and fades after them; heat is
    that of the keys nearest to the frame. The dot is a ring where the frame is not the query's.

    Args:
        frames: The whole clip.
        seconds: When each of its frames is shown.
        look: Places and weights.
        view: What to draw over the frames.
        fps: Pictures per second.
    """
    gaps = np.diff(seconds)
    waits = [*gaps, np.median(gaps) if len(gaps) else 0.5]
    shown = np.repeat(
        np.arange(len(frames)), [max(round(max(wait, SLOWEST) * fps), 1) for wait in waits]
    )  # the frame of each picture
    times = np.unique(look.centres[:, 0, 0, 0])
    owners = times[np.abs(times[:, None] - shown).argmin(0)]  # the keys nearest to each picture
    height, width = frames.shape[1:3]
    scale = SIDE / min(height, width)
    size = [2 * round(scale * side / 2) for side in (height, width)]
    pace = max(GROWTH * fps, 1.0)  # pictures
    for picture, frame in enumerate(shown):
        moving = {}
        for time in times:
            mine = np.flatnonzero(owners == time)
            if len(mine):
                arrival = max(mine[0], pace)
                grown = 1 - (arrival - picture) / pace
                left = 1 - (picture - max(mine[-1], arrival)) / pace
                moving[float(time)] = min(grown, 1.0), min(left, 1.0)
        yield _picture(frames[frame], look, int(frame), moving, view, size)


def _picture(
    picture: np.ndarray,
    look: Looks,
    frame: int,
    moving: Mapping[float, tuple[float, float]],  # time of keys -> share of the way, opacity
    view: View,
    size: Sequence[int],
) -> np.ndarray:
    dpi = min(size) / PANEL_INCHES  # arrows and dot as large as in a panel
    figure = Figure(figsize=(size[1] / dpi, size[0] / dpi), dpi=dpi)
    canvas = FigureCanvasAgg(figure)
    ax = figure.add_axes((0, 0, 1, 1))
    show_frame(ax, picture, look, frame, view)
    ax.set_aspect("auto")
    _, y, x = look.query
    share = shares(look)
    for order in np.argsort(look.weights) if view != "heat" else ():
        at, down, right = (float(value) for value in look.keys[order])
        grown, left = moving.get(at, (0.0, 0.0))
        if grown > 0 and left > 0:
            end = (x + grown * (right - x), y + grown * (down - y))
            draw_arrow(figure, ax, (x, y), ax, end, float(share[order]), left)
    draw_dot(ax, x, y, here=frame == round(look.query[0]))
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()
