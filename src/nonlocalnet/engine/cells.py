"""Where the cells of a feature map lie in the input, from strides, kernels and paddings.

A place is (frame, y, x): frames of the clip and px of the network's input, both counted from 0, so
that the centre of the top left pixel of the first frame is (0, 0, 0).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import nn

from nonlocalnet.models.resnet import VideoResNet

Place = tuple[float, float, float]


@dataclass(frozen=True, kw_only=True)
class CellMap:
    """Where the cells of a feature map lie in the input: pixel = offset + stride * cell."""

    stride: Place
    offset: Place

    def through(
        self, kernel: Sequence[int], stride: Sequence[int], padding: Sequence[int]
    ) -> "CellMap":
        """The map after one more convolution or pooling."""
        centre = [(k - 1) / 2 - p for k, p in zip(kernel, padding, strict=True)]
        return CellMap(
            stride=place(a * b for a, b in zip(self.stride, stride, strict=True)),
            offset=place(
                o + a * c for o, a, c in zip(self.offset, self.stride, centre, strict=True)
            ),
        )

    def to_input(self, cells: np.ndarray) -> np.ndarray:  # (..., 3) -> (..., 3)
        """Centres of cells, whole or not, in frames and px of the input."""
        return np.array(self.offset) + np.array(self.stride) * cells

    def to_cell(self, at: Place, shape: Sequence[int]) -> np.ndarray:  # (3,) int
        """The cell of a map of this shape whose centre is nearest."""
        cell = np.rint((np.array(at) - self.offset) / self.stride).astype(int)
        return cell.clip(0, np.array(shape) - 1)


def cell_maps(model: VideoResNet) -> dict[str, CellMap]:
    """For every residual block by name, where the cells of its output lie in the input.

    Example:
        >>> from nonlocalnet.models.zoo import build
        >>> cell_maps(build("nl1_c2d_tiny", 2))["res3.0"].stride
        (1.0, 8.0, 8.0)
    """
    at = CellMap(stride=(1.0, 1.0, 1.0), offset=(0.0, 0.0, 0.0))
    at = _through(_through(at, model.conv1), model.pool1)
    maps = {}
    for stage in model.stages:
        for name, block in model.get_submodule(stage).named_children():
            for conv in ("conv1", "conv2", "conv3"):
                at = _through(at, block.get_submodule(conv))
            maps[f"{stage}.{name}"] = at
        if stage == "res2":
            at = _through(at, model.pool2)
    return maps


def _through(at: CellMap, module: nn.Module) -> CellMap:
    if isinstance(module, nn.Identity):
        return at
    numbers: Any = module
    return at.through(*map(_triple, (numbers.kernel_size, numbers.stride, numbers.padding)))


def _triple(value: int | Sequence[int]) -> Sequence[int]:
    return (value,) * 3 if isinstance(value, int) else value


def place(values: Iterable[Any]) -> Place:
    """Three numbers of any kind as floats."""
    t, y, x = (float(value) for value in values)
    return t, y, x
