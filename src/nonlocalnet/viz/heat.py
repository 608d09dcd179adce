"""The weights of one position as colours over a frame."""

from collections.abc import Sequence

import numpy as np

POSITIVE, NEGATIVE = (255, 235, 40), (60, 130, 255)
"""RGB of a weak weight above zero, which grows to red, and of one below."""


def heat_map(
    row: np.ndarray,  # (T', H', W')
    centres: np.ndarray,  # (T', H', W', 3): frame, y, x
    frame: float,
    shown: Sequence[float] = (),
) -> tuple[np.ndarray, tuple[float, float, float, float]]:
    """The keys nearest in time to a frame, coloured by their share of the largest weight.

    Where no weight is above zero, as may be in a dot product, of the one furthest below. A border
    repeats the outer keys: beyond them a pixel still lies nearest to its key.

    Args:
        row: All weights of the position.
        centres: Where the keys lie: frame, y and x.
        frame: The frame that is drawn.
        shown: All frames that are drawn, where they are not all there are: no weight may be lost
            between two of them. A frame then shows the strongest, at each place, of the keys that
            lie nearer to it than to the others.

    Returns:
        RGBA (H' + 2, W' + 2, 4) from 0 to 1, and where its (left, right, bottom, top) ends lie in
        px.

    Example:
        >>> centres = np.stack(np.meshgrid([0], [3, 11], [3, 11], indexing="ij"), -1)
        >>> rgba, borders = heat_map(np.array([[[0, 1], [0, 0]]]), centres, frame=0)
        >>> rgba.shape, rgba[1, 2].round(2).tolist(), float(rgba[2, 2, 3]), borders
        ((4, 4, 4), [1.0, 0.14, 0.0, 0.84], 0.0, (-9.0, 23.0, 23.0, -9.0))
    """
    times = centres[:, 0, 0, 0]
    owners = [shown[int(np.abs(np.array(shown) - t).argmin())] for t in times] if shown else []
    mine = [k for k, owner in enumerate(owners) if owner == frame]
    nearest = int(np.abs(times - frame).argmin())
    slices = row[mine or [nearest]]
    strongest = np.take_along_axis(slices, np.abs(slices).argmax(0)[None], 0)[0]
    largest = float(row.max())
    share = strongest / (largest if largest > 0 else max(float(-row.min()), 1e-30))
    size = np.minimum(np.abs(share), 1)
    rgba = np.empty((*share.shape, 4))
    rgba[..., 0] = POSITIVE[0]
    rgba[..., 1] = POSITIVE[1] - 200 * size
    rgba[..., 2] = POSITIVE[2] * (1 - size)
    rgba[share < 0, :3] = NEGATIVE
    rgba[..., 3] = np.where(share < 0, 200, 215) * size**0.6
    y, x = centres[nearest, :, 0, 1], centres[nearest, 0, :, 2]
    (top, bottom), (left, right) = _borders(y), _borders(x)
    return np.pad(rgba / 255, ((1, 1), (1, 1), (0, 0)), "edge"), (left, right, bottom, top)


def _borders(centres: np.ndarray) -> tuple[float, float]:
    cell = centres[1] - centres[0] if len(centres) > 1 else 2 * centres[0] + 1
    return float(centres[0] - 1.5 * cell), float(centres[-1] + 1.5 * cell)
