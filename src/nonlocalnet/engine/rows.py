"""All rows of blocks over a clip, f(x_i, x_j) / C(x), as the explorer needs them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from nonlocalnet.engine.cells import cell_maps
from nonlocalnet.engine.explain import block_inputs
from nonlocalnet.models.resnet import VideoResNet

AT_ONCE = 4_000_000  # weights computed together
Axes = tuple[np.ndarray, np.ndarray, np.ndarray]


@dataclass(frozen=True, kw_only=True)
class Rows:
    """The rows of one block. Axes are frames of the clip, y px and x px of the network's input."""

    block: str
    kind: str
    queries: Axes
    """Where the cells lie whose rows these are."""
    keys: Axes
    weights: np.ndarray = field(repr=False)  # (T, H, W, T', H', W') float32
    step: int
    """Every so many cells in y and x have a row: 1, or more where they would be too many."""
    cell: tuple[float, float]
    """Height and width of a key in px."""


@torch.no_grad()
def all_rows(model: VideoResNet, clip: Tensor, hosts: Sequence[str], *, most: int) -> list[Rows]:
    """The rows of every cell; of every second, third, ... in y and x where that is too much.

    Args:
        model: Any network of ours; left as it was.
        clip: Network input, (1, 3, T, H, W).
        hosts: See `choose_blocks`.
        most: Weights of all blocks together.
    """
    inputs = block_inputs(model, clip, hosts)
    maps = cell_maps(model)
    centres = {
        host: block.key_centres(x.shape[2:]).cpu().numpy() for host, (block, x) in inputs.items()
    }
    shapes = {host: tuple(x.shape[2:]) for host, (_, x) in inputs.items()}
    steps = _steps(shapes, {host: each[..., 0].size for host, each in centres.items()}, most)
    found = []
    for host, (block, x) in inputs.items():
        frames, *plane = shapes[host]
        cells = [np.arange(frames), *(_every(steps[host], size) for size in plane)]
        positions = np.stack(np.meshgrid(*cells, indexing="ij"), -1).reshape(-1, 3)
        grid = centres[host].shape[:3]
        chunk = max(AT_ONCE // math.prod(grid), 1)
        weights = np.concatenate(
            [
                block.weights(x, torch.from_numpy(part).to(x.device))[0].float().cpu().numpy()
                for part in np.split(positions, range(chunk, len(positions), chunk))
            ]
        )
        keys = maps[host].to_input(centres[host])
        found.append(
            Rows(
                block=host,
                kind=block.kind,
                queries=_axes(
                    maps[host].to_input(positions.reshape(*map(len, cells), 3).astype(float))
                ),
                keys=_axes(keys),
                weights=weights.reshape(*map(len, cells), *grid),
                step=steps[host],
                cell=_cell(keys, maps[host].stride),
            )
        )
    return found


def _steps(shapes: dict[str, tuple[int, ...]], keys: dict[str, int], most: int) -> dict[str, int]:
    """The largest block is thinned first, until all fit."""
    steps = dict.fromkeys(shapes, 1)

    def count(host: str) -> int:
        frames, *plane = shapes[host]
        return frames * math.prod(len(_every(steps[host], n)) for n in plane) * keys[host]

    while sum(map(count, steps)) > most:
        largest = max(steps, key=count)
        if steps[largest] > max(shapes[largest][1:]):
            break
        steps[largest] += 1
    return steps


def _every(step: int, size: int) -> np.ndarray:
    """Cells `step` apart, as far from one border as from the other."""
    count = -(-size // step)
    return np.arange(count) * step + (size - 1 - (count - 1) * step) // 2


def _axes(centres: np.ndarray) -> Axes:  # (T, H, W, 3): a product of three axes
    return centres[:, 0, 0, 0], centres[0, :, 0, 1], centres[0, 0, :, 2]


def _cell(keys: np.ndarray, stride: Sequence[float]) -> tuple[float, float]:
    """The distance of neighbouring keys, or of cells where there is but one."""
    _, y, x = _axes(keys)
    tall, wide = (
        float(axis[1] - axis[0]) if len(axis) > 1 else s
        for axis, s in zip((y, x), stride[1:], strict=True)
    )
    return tall, wide
