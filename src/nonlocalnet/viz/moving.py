"""A clip that plays while arrows reach for the places that one position attends to."""

from collections.abc import Iterator, Sequence

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from nonlocalnet.viz.arrows import Looks, View, draw_arrow, draw_dot, shares, show_frame

FPS = 15
SIDE = 360  # px, shorter side of the pictures
GROWTH = 0.4  # s until an arrow has reached its place


def moving_arrows(
    frames: np.ndarray,  # (T, H, W, 3) uint8
    seconds: Sequence[float],  # (T,)
    look: Looks,
    *,
    view: View = "both",
    fps: int = FPS,
) -> Iterator[np.ndarray]:  # (h, w, 3) uint8, both even
    """Pictures of the clip at its own speed; at each moment the arrows to the keys nearest in time.

    Args:
        frames: The whole clip.
        seconds: When each of its frames is shown.
        look: Places and weights.
        view: What to draw over the frames.
        fps: Pictures per second.
    """
    gaps = np.diff(seconds)
    usual = float(np.median(gaps)) if len(gaps) else 0.5
    times = sorted(set(look.centres[:, 0, 0, 0].tolist()))
    nearest = [int(np.abs(np.array(times) - frame).argmin()) for frame in range(len(frames))]
    height, width = frames.shape[1:3]
    scale = SIDE / min(height, width)
    size = [2 * round(scale * side / 2) for side in (height, width)]
    since = 0.0  # s that the arrows of these keys have been growing
    for frame, picture in enumerate(frames):
        if frame and nearest[frame] != nearest[frame - 1]:
            since = 0.0
        wait = float(gaps[frame]) if frame < len(gaps) else usual
        count = max(round(wait * fps), 1)
        for _ in range(count):
            since += 1 / fps
            grown = min(since / GROWTH, 1.0)
            yield _picture(picture, look, frame, times[nearest[frame]], grown, view, size)


def _picture(
    picture: np.ndarray,
    look: Looks,
    frame: int,
    time: float,
    grown: float,
    view: View,
    size: Sequence[int],
) -> np.ndarray:
    figure = Figure(figsize=(size[1] / 100, size[0] / 100), dpi=100)
    canvas = FigureCanvasAgg(figure)
    ax = figure.add_axes((0, 0, 1, 1))
    show_frame(ax, picture, look, frame, view)
    ax.set_aspect("auto")
    _, y, x = look.query
    share = shares(look)
    for order in np.argsort(look.weights) if view != "heat" else ():
        at, down, right = (float(value) for value in look.keys[order])
        if at == time:
            end = (x + grown * (right - x), y + grown * (down - y))
            draw_arrow(figure, ax, (x, y), ax, end, float(share[order]))
    draw_dot(ax, x, y)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()
