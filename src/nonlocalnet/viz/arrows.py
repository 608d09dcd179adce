"""Figure 3: arrows over frames, from one position to those it attends to most."""

from collections.abc import Sequence
from os import PathLike
from typing import Literal, Protocol

import matplotlib.patheffects as effects
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import ConnectionPatch

from nonlocalnet.files import replacing
from nonlocalnet.viz.heat import heat_map

View = Literal["arrows", "heat", "both"]
PANELS = 4
MOST_COLUMNS = 8
PANEL_INCHES = 2.2
TITLE, GAP = 0.25, 0.05  # inches above a panel and between two
ARROW, RIM, DOT = "#ffd400", "#000000", "#e0182d"


class Looks(Protocol):
    """What is drawn. A place is (frame of the clip, y, x), y and x in px of the frames."""

    @property
    def block(self) -> str:
        """Which block looks."""
        ...

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

    @property
    def row(self) -> np.ndarray:  # (T', H', W')
        """All weights of the position."""
        ...

    @property
    def centres(self) -> np.ndarray:  # (T', H', W', 3)
        """Where all keys lie."""
        ...


def draw_arrows(
    frames: np.ndarray,  # (T, H, W, 3) uint8
    looks: Sequence[Looks],
    path: str | PathLike[str],
    *,
    view: View = "arrows",
    panels: int = PANELS,
) -> None:
    """Writes a picture (PNG; SVG or PDF by suffix) of looks over a few frames side by side.

    The frames are evenly spread over the clip and the query's is one of them. An arrow to a frame
    that is not shown ends at its place in the nearest frame that is. Width and opacity of an arrow
    grow with its weight. Heat shows all weights, in the same frames; the strongest covers others.

    Args:
        frames: The whole clip, or one image.
        looks: Places and weights; several blocks stand under each other.
        path: The picture.
        view: What to draw over the frames.
        panels: How many frames to show, eight in a line at most.
    """
    shown = shown_frames(len(frames), round(looks[0].query[0]), panels)
    columns = min(len(shown), MOST_COLUMNS)
    lines = -(-len(shown) // columns)
    height, width = frames.shape[1:3]
    tall = PANEL_INCHES * height / width
    size = (
        columns * (PANEL_INCHES + GAP) + GAP,
        len(looks) * lines * (tall + TITLE + GAP) + GAP,
    )
    figure = Figure(figsize=size, dpi=200)
    for order, look in enumerate(looks):
        axes = []
        for number, frame in enumerate(shown):
            line, column = divmod(number, columns)
            bottom = size[1] - (order * lines + line + 1) * (tall + TITLE + GAP)
            left = GAP + column * (PANEL_INCHES + GAP)
            box = (left / size[0], bottom / size[1], PANEL_INCHES / size[0], tall / size[1])
            ax = figure.add_axes(box)
            show_frame(ax, frames[frame], look, frame, view, shown)
            name = f"{look.block}, " if len(looks) > 1 and number == 0 else ""
            what = f"frame {frame + 1} of {len(frames)}" if len(frames) > 1 else "the image"
            ax.set_title(f"{name}{what}", fontsize=8, pad=3)
            axes.append(ax)
        _connect(figure, axes, shown, look, arrows=view != "heat")
    with replacing(path) as part:
        figure.savefig(part)


def show_frame(
    ax: Axes,
    picture: np.ndarray,
    look: Looks,
    frame: float,
    view: View,
    shown: Sequence[float] = (),
) -> None:
    """One frame of those shown with the heat of a look, if it is to be seen; see `heat_map`."""
    height, width = picture.shape[:2]
    ax.imshow(picture, interpolation="bilinear")
    if view != "arrows":
        rgba, borders = heat_map(look.row, look.centres, frame, shown)
        ax.imshow(rgba, extent=borders, interpolation="bilinear")
    ax.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5))
    ax.set_axis_off()


def shares(look: Looks) -> np.ndarray:  # (K,)
    """Weights as shares of the strongest, from 0 to 1: widths and opacities of arrows."""
    strongest = max(float(np.max(look.weights, initial=0.0)), 1e-12)
    return np.clip(look.weights / strongest, 0, 1)


def shown_frames(total: int, query: int, panels: int = PANELS) -> list[int]:
    """Frames to show, evenly strided, the query's among them.

    Example:
        >>> shown_frames(32, query=20), shown_frames(32, query=3), shown_frames(3, query=1)
        ([4, 12, 20, 28], [3, 11, 19, 27], [0, 1, 2])
    """
    stride = max(total // panels, 1)
    even = list(range(query % stride, total, stride))
    return even[-panels:] if query in even[-panels:] else even[:panels]


def draw_arrow(
    figure: Figure,
    start: Axes,
    tail: tuple[float, float],  # (x, y)
    end: Axes,
    head: tuple[float, float],
    share: float,  # of the strongest weight
    opacity: float = 1.0,
) -> None:
    """One bent arrow with a dark rim, which shows on any ground."""
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
        alpha=opacity * (0.25 + 0.75 * share),
        shrinkA=0,
        shrinkB=0,
    )
    arrow.set_path_effects(
        [
            effects.Stroke(linewidth=1.2 + 1.4 * share, foreground=RIM, alpha=0.35 * opacity),
            effects.Normal(),
        ]
    )
    figure.add_artist(arrow)


def draw_dot(ax: Axes, x: float, y: float, *, here: bool = True) -> None:
    """The position that is looked from, above its arrows; a ring in a frame that is not its own."""
    dot = Line2D([x], [y], marker="o", ms=5, mfc=DOT, mec="white", mew=1.2)
    if not here:
        dot.set(mfc="none", mec=DOT)
    dot.set_transform(ax.transData)
    figure = ax.figure
    assert figure is not None
    figure.add_artist(dot)  # arrows are artists of the figure too, of a lower order


def _connect(
    figure: Figure, axes: Sequence[Axes], shown: Sequence[int], look: Looks, *, arrows: bool
) -> None:
    def panel(frame: float) -> Axes:
        return axes[int(np.abs(np.array(shown) - frame).argmin())]

    frame, y, x = look.query
    start, tail = panel(frame), (x, y)
    share = shares(look)
    for order in np.argsort(look.weights) if arrows else ():  # the strongest on top
        frame, y, x = (float(value) for value in look.keys[order])
        draw_arrow(figure, start, tail, panel(frame), (x, y), float(share[order]))
    draw_dot(start, *tail)
