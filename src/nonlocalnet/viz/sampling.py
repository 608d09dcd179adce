"""Which moments the clips of a test take, and which parts of a frame: one picture."""

from collections.abc import Sequence
from os import PathLike

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from nonlocalnet.files import replacing
from nonlocalnet.viz import plain

KEPT, REST = "#0072b2", "#cccccc"
CROPS = ("#d55e00", "#009e73", "#cc79a7")


def draw_sampling(
    stamps: np.ndarray,  # (frames,)
    end: float,
    clips: np.ndarray,  # (clips, T)
    picture: np.ndarray,  # (H, W, 3) uint8
    squares: Sequence[tuple[int, int, int]],
    path: str | PathLike[str],
    *,
    title: str = "",
) -> None:
    """Writes a picture: a row per clip along the time line, and the crops on a frame.

    Args:
        stamps: Seconds, when each frame of the video is shown.
        end: Seconds, when the last one has been shown.
        clips: Seconds of the frames that each clip keeps, in the order the network sees them.
        picture: A frame of the video.
        squares: (top, left, side) in its px of each crop; none: the whole frame.
        path: The picture (PNG; SVG or PDF by suffix).
        title: Above it.
    """
    rows = len(clips) + 1
    figure = Figure(figsize=(9.6, max(0.24 * rows + 1.1, 2.6)), dpi=160, layout="constrained")
    time, frame = figure.subplots(1, 2, width_ratios=(2.6, 1))
    if title:
        figure.suptitle(plain(title), fontsize=9)
    time.eventplot([stamps], lineoffsets=[0], linelengths=0.5, colors=REST, linewidths=0.6)
    for row, clip in enumerate(clips, 1):
        for run in np.split(clip, np.flatnonzero(np.diff(clip) < 0) + 1):  # it may start again
            bar = (run[0], row - 0.1), run[-1] - run[0] + end / 300, 0.2
            time.add_patch(Rectangle(*bar, color=KEPT, alpha=0.25, lw=0))
        time.eventplot([clip], lineoffsets=[row], linelengths=0.62, colors=KEPT, linewidths=1.1)
        times = np.unique(clip, return_counts=True)[1].max()
        if times > 1:
            time.annotate(
                f"some {times} times",
                (1, row),
                xycoords=("axes fraction", "data"),
                xytext=(4, 0),
                textcoords="offset points",
                va="center",
                fontsize=6,
                color="#555555",
            )
    time.set(xlim=(-0.01 * end, 1.01 * end), ylim=(rows - 0.4, -0.6), xlabel="seconds")
    time.set_yticks(
        range(rows), ["all frames", *(f"clip {row}" for row in range(1, rows))], fontsize=7
    )
    time.tick_params(axis="x", labelsize=7)
    time.tick_params(axis="y", length=0)
    time.spines[["top", "right", "left"]].set_visible(False)
    frame.imshow(picture, interpolation="bilinear")
    frame.set_axis_off()
    height, wide = picture.shape[:2]
    boxes = squares or [(0, 0, wide)]
    for number, (top, left, side) in enumerate(boxes):
        tall = side if squares else height
        frame.add_patch(
            Rectangle(
                (left - 0.5 + 1.5 * number, top - 0.5 + 1.5 * number),
                side - 3 * number,
                tall - 3 * number,
                fill=False,
                ec=CROPS[number % len(CROPS)],
                lw=1.6,
            )
        )
    what = f"{len(squares)} crops of {squares[0][2]}x{squares[0][2]}" if squares else "whole frame"
    frame.set_title(f"{what} ({wide}x{height} px)", fontsize=8)
    with replacing(path) as part:
        figure.savefig(part)
