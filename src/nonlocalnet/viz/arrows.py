"""Figure 3: arrows over frames, from one position to those it attends to most."""

from os import PathLike
from typing import Protocol

import matplotlib.patheffects as effects
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import ConnectionPatch

PANELS = 4
PANEL_INCHES = 2.2
ARROW, RIM = "#ffd400", "#000000"


class Looks(Protocol):
    """What is drawn. A place is (frame of the clip, y, x), y and x in px of the frames."""

    @property
    def query(self) -> tuple[float, float, float]:
        """Where the arrows start."""
        ...

    @property
    def keys(self) -> np.ndarray:  # (K, 3)
        """Where they end."""
        ...

    @property
    def weights(self) -> np.ndarray:  # (K,)
        """How strong each is."""
        ...


def draw_arrows(
    frames: np.ndarray,  # (T, H, W, 3) uint8
    look: Looks,
    path: str | PathLike[str],
    *,
    panels: int = PANELS,
) -> None:
    """Writes a picture (PNG; SVG or PDF by suffix) of the look over a few frames side by side.

    The frames are evenly spread over the clip and the query's is one of them. An arrow to a frame
    that is not shown ends at its place in the nearest frame that is. Width and opacity of an arrow
    grow with its weight.

    Args:
        frames: The whole clip.
        look: Places and weights.
        path: The picture.
        panels: How many frames to show.
    """
    shown = shown_frames(len(frames), round(look.query[0]), panels)
    height, width = frames.shape[1:3]
    figure = Figure(
        figsize=(PANEL_INCHES * len(shown), PANEL_INCHES * height / width + 0.3), dpi=200
    )
    axes: list[Axes] = list(figure.subplots(1, len(shown), squeeze=False)[0])
    for ax, frame in zip(axes, shown, strict=True):
        ax.imshow(frames[frame], interpolation="bilinear")
        ax.set_title(f"frame {frame + 1} of {len(frames)}", fontsize=8, pad=3)
        ax.set_axis_off()
    figure.subplots_adjust(0.005, 0.005, 0.995, 1 - 0.25 / figure.get_figheight(), wspace=0.03)

    def panel(frame: float) -> Axes:
        return axes[int(np.abs(np.array(shown) - frame).argmin())]

    frame, y, x = look.query
    start, tail = panel(frame), (x, y)
    strongest = max(float(np.max(look.weights, initial=0.0)), 1e-12)
    for order in np.argsort(look.weights):  # the strongest on top
        frame, y, x = (float(value) for value in look.keys[order])
        share = max(float(look.weights[order]) / strongest, 0.0)
        _arrow(figure, start, tail, panel(frame), (x, y), share)
    start.plot([tail[0]], [tail[1]], "o", ms=5, mfc="#e0182d", mec="white", mew=1.2)
    figure.savefig(path)


def shown_frames(total: int, query: int, panels: int = PANELS) -> list[int]:
    """Frames to show, evenly strided, the query's among them.

    Example:
        >>> shown_frames(32, query=20), shown_frames(32, query=3), shown_frames(3, query=1)
        ([4, 12, 20, 28], [3, 11, 19, 27], [0, 1, 2])
    """
    stride = max(total // panels, 1)
    even = list(range(query % stride, total, stride))
    return even[-panels:] if query in even[-panels:] else even[:panels]


def _arrow(
    figure: Figure,
    start: Axes,
    tail: tuple[float, float],  # (x, y)
    end: Axes,
    head: tuple[float, float],
    share: float,  # of the strongest weight
) -> None:
    arrow = ConnectionPatch(
        tail,
        head,
        coordsA=start.transData,
        coordsB=end.transData,
        arrowstyle="-|>",
        connectionstyle="arc3,rad=-0.08",
        mutation_scale=5 + 4 * share,
        linewidth=0.4 + 1.4 * share,
        color=ARROW,
        alpha=0.25 + 0.75 * share,
        shrinkA=0,
        shrinkB=0,
    )
    arrow.set_path_effects(
        [effects.Stroke(linewidth=1.2 + 1.4 * share, foreground=RIM, alpha=0.35), effects.Normal()]
    )
    figure.add_artist(arrow)
