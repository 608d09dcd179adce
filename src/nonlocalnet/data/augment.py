"""Random warps and shades of training clips, for sets of few people or few cameras.

The paper jitters size and place only (Sec. 4.1), which is enough for 240,000 videos; where a set
has four people, their build, stance and light are soon known by heart. One affine map and one curve
for all frames of a clip: motion stays what it is.
"""

import numpy as np
import torch
from torch.nn import functional as F

ZOOM, ASPECT, TURN, SHEAR, SHIFT = 0.2, 0.12, 0.17, 0.15, 0.13
"""At amount 1: up to so much in the logarithm of the size and of the width over the height, in
radians, as a slope, and in parts of half the crop."""
GAIN, GAMMA = 0.3, 0.4
"""At amount 1: up to so much in the logarithm of the factor and of the exponent."""


def random_warp(amount: float, rng: np.random.Generator) -> np.ndarray:  # (2, 3)
    """Where the pixels of the crop come from: (x, y, 1), -1 to 1 across it, -> the same units.

    Args:
        amount: 0 leaves the crop as it is.
        rng: Draws zoom, aspect, turn, shear and shift, all uniform.

    Example:
        >>> bool((random_warp(0.0, np.random.default_rng(0)) == np.eye(2, 3)).all())
        True
    """
    zoom, aspect, turn, shear = amount * rng.uniform(-1, 1, 4) * (ZOOM, ASPECT, TURN, SHEAR)
    shift = amount * SHIFT * rng.uniform(-1, 1, 2)
    cos, sin = np.cos(turn), np.sin(turn)
    turned = np.array([[cos, shear - sin], [sin, cos]]) * np.exp([zoom + aspect, zoom - aspect])
    return np.column_stack((turned, shift))


def warp_crop(
    frames: np.ndarray,  # (T, H, W, 3) uint8
    window: tuple[int, int, int],
    warp: np.ndarray,  # (2, 3)
) -> np.ndarray:  # (T, side, side, 3) uint8
    """The crop at `window` (top, left, side px) seen through a warp; black beyond the frame.

    Example:
        >>> frames = np.arange(5 * 6 * 3, dtype=np.uint8).reshape(1, 5, 6, 3)
        >>> same = warp_crop(frames, (1, 2, 3), np.eye(2, 3))
        >>> bool((same == frames[:, 1:4, 2:5]).all())
        True
    """
    top, left, side = window
    height, width = frames.shape[1:3]
    size = np.array([width, height])
    middle = (np.array([left, top]) + side / 2) * 2 / size - 1
    scale = side / size
    theta = np.column_stack((warp[:, :2] * scale[:, None], warp[:, 2] * scale + middle))
    # One picture with all frames in its channels: the map is worked out and looked up once.
    flat = torch.from_numpy(np.ascontiguousarray(frames.transpose(0, 3, 1, 2))).flatten(0, 1)
    grid = F.affine_grid(
        torch.from_numpy(theta).float()[None], [1, 1, side, side], align_corners=False
    )
    seen = F.grid_sample(flat.float()[None], grid, align_corners=False)[0]
    return seen.round().byte().unflatten(0, (len(frames), 3)).permute(0, 2, 3, 1).numpy()


def random_shade(amount: float, rng: np.random.Generator) -> np.ndarray:  # (256,) uint8
    """What each value becomes: (gain * value) ** gamma, 0 and 1 being black and white.

    Black stays black, so a cut-out figure keeps its outline.

    Args:
        amount: 0 leaves every value as it is.
        rng: Draws gain and gamma.

    Example:
        >>> bool((random_shade(0.0, np.random.default_rng(0)) == np.arange(256)).all())
        True
    """
    gain, gamma = np.exp(amount * rng.uniform(-1, 1, 2) * (GAIN, GAMMA))
    values = (gain * np.arange(256) / 255).clip(0, 1) ** gamma
    return (255 * values).round().astype(np.uint8)
