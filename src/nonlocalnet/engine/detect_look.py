"""Where a detector's trunk looks: the places one position of an image attends to most."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nonlocalnet.nn.insert import nonlocal_blocks
from nonlocalnet.nn.probe import run_watched

TRUNK, CHILD = "backbone.body.", ".nonlocal_block"


@dataclass(frozen=True, kw_only=True)
class ImageLook:
    """A look as `viz.arrows` draws it: a place is (0, y, x) in px of the image as given."""

    block: str
    query: tuple[float, float, float]
    """The centre of the cell that holds the position asked for."""
    keys: np.ndarray  # (top, 3)
    """Centres of the strongest keys, strongest first."""
    weights: np.ndarray  # (top,)
    """Their weights f(x_i, x_j) / C(x)."""
    row: np.ndarray  # (1, H', W')
    """All weights of the position; zero for keys in the padding."""
    centres: np.ndarray  # (1, H', W', 3)
    """Where all keys lie."""


def look_in_image(
    model: Any,
    image: Tensor,
    at: tuple[float, float],
    *,
    block: str | None = None,
    top: int = 20,
) -> ImageLook:
    """The places of an image that one position attends to most.

    Every stride of the trunk is by a window centred on its cell, so cell c of a map with stride s
    is centred on px s c of the resized image. Keys in the padding beside the image are left out.

    Args:
        model: From `build_detector`; left as it was.
        image: (3, H, W), RGB in 0 .. 1.
        at: x and y in px of the image.
        block: The residual block before it, such as "layer3.4"; None: the first there is.
        top: How many of the strongest keys.

    Raises:
        ValueError: There is no such block, or the position lies outside the image.
    """
    height, width = image.shape[1:]
    x, y = at
    if not (0 <= x < width and 0 <= y < height):
        raise ValueError(f"x,y = {x:g},{y:g} lies outside the image of {width}x{height} px")
    blocks = {
        name.removeprefix(TRUNK).removesuffix(CHILD): part
        for name, part in nonlocal_blocks(model).items()
        if name.startswith(TRUNK)
    }
    if not blocks:
        raise ValueError("this detector has no non-local block in its trunk to look through")
    name = block or next(iter(blocks))
    if name not in blocks:
        raise ValueError(f"no non-local block after {name!r}; there are: {', '.join(blocks)}")
    module = blocks[name]
    image = image.to(next(model.parameters()).device)
    seen: list[Tensor] = []
    run_watched(model, ([image],), [module], lambda _, inputs, __: seen.append(inputs[0]))
    stride = 2 ** (1 + int(name.removeprefix("layer").partition(".")[0]))
    resized = _resized(model, image)
    scale = np.array([resized[0] / height, resized[1] / width])
    position = (np.array([y, x]) + 0.5) * scale - 0.5
    cell = np.rint(position / stride).astype(int).clip(0, np.array(seen[0].shape[2:]) - 1)
    with torch.no_grad():
        row = module.weights(seen[0], torch.from_numpy(cell)[None].to(image.device))[0, 0].cpu()
    centres = module.key_centres(seen[0].shape[2:]).cpu().numpy() * stride  # (H', W', 2)
    inside = (centres < np.array(resized)).all(-1)
    weights = np.where(inside, row.numpy(), 0.0)
    order = np.argsort(-np.where(inside, weights, -1.0), axis=None, kind="stable")
    best = order[: min(top, int(inside.sum()))]

    def places(cells: np.ndarray) -> np.ndarray:  # (..., 2) -> (..., 3)
        back = ((cells + 0.5) / scale - 0.5).clip(0, np.array([height, width]) - 1)
        return np.concatenate([np.zeros_like(back[..., :1]), back], -1)

    _, row_y, row_x = (float(value) for value in places(cell * stride))
    return ImageLook(
        block=name,
        query=(0.0, row_y, row_x),
        keys=places(centres.reshape(-1, 2)[best]),
        weights=weights.flatten()[best],
        row=weights[None],
        centres=places(centres)[None],
    )


def _resized(model: Any, image: Tensor) -> tuple[int, int]:
    """Height and width after the detector's own resizing, before it pads."""
    training = model.transform.training
    try:
        images, _ = model.transform.eval()([image])
    finally:
        model.transform.train(training)
    return images.image_sizes[0]
