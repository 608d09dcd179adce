"""What a network costs: parameters, multiply-adds, the sizes of its maps, where its blocks stand.

Counted on the modules as they run, on tensors without data ("meta"), so nothing is computed and
nothing large is stored. A multiply-add is one product and one sum, what the paper calls a FLOP.
"""

import copy
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from nonlocalnet.models.resnet import VideoResNet
from nonlocalnet.models.zoo import build
from nonlocalnet.nn.block import NonLocalBlock
from nonlocalnet.nn.insert import nonlocal_blocks
from nonlocalnet.nn.probe import run_watched


@dataclass(frozen=True, kw_only=True)
class Costs:
    """A network on one clip."""

    parameters: int
    """All trainable numbers."""

    weights: int
    """Those of convolutions and fc alone, without biases and batch norm: Table 2e's count."""

    multiply_adds: int
    """Of convolutions, fc and matrix products."""

    pairwise: int
    """Those of the N x M products theta phi^T and f g among them, as if f were stored."""

    sizes: dict[str, tuple[int, int, int, int]]
    """Layer of Table 1 -> T, H, W, C of its output."""

    blocks: dict[str, tuple[int, int]]
    """Non-local block -> N positions and M keys."""


def count(model: VideoResNet, clip: Sequence[int] = (32, 224, 224)) -> Costs:
    """Costs of a network on one clip of T frames of H x W px.

    Raises:
        ValueError: The clip does not survive the strides.

    Example:
        >>> costs = count(build("nl1_c2d_tiny", 3), (4, 64, 64))
        >>> costs.sizes["res3"], costs.blocks
        ((4, 8, 8, 128), {'res3.0.nonlocal_block': (256, 64)})
        >>> costs.multiply_adds, costs.pairwise
        (56559104, 2097152)
    """
    model = copy.deepcopy(model).to("meta")
    blocks = nonlocal_blocks(model)
    layers = ["conv1", "pool1", "res2", "pool2", *model.stages[1:]]
    names = {model.get_submodule(name): name for name in (*layers, *blocks)}
    sizes, pairs = {}, {}

    def look(module: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
        shape = output.shape[2:]
        if isinstance(module, NonLocalBlock):
            pairs[names[module]] = math.prod(shape), math.prod(module.key_grid(shape))
        else:
            sizes[names[module]] = (*shape, output.shape[1])

    total, pairwise = multiply_adds(model, (3, *clip), names, look)
    weighted = [m.weight for m in model.modules() if isinstance(m, nn.Conv3d | nn.Linear)]
    weighted += [block.w_f for block in blocks.values() if block.w_f is not None]
    return Costs(
        parameters=sum(p.numel() for p in model.parameters()),
        weights=sum(p.numel() for p in weighted),
        multiply_adds=total,
        pairwise=pairwise,
        sizes=sizes,
        blocks=pairs,
    )


def multiply_adds(
    model: nn.Module,
    shape: Sequence[int],
    modules: Iterable[nn.Module] = (),
    look: Callable[..., None] = lambda *_: None,
) -> tuple[int, int]:
    """Of a "meta" network on one input, without batch axis: all, and the N x M products alone.

    `modules` and `look` are those of `run_watched`.
    """
    for block in nonlocal_blocks(model).values():
        block.engine = "dense"  # whose products are the paper's; others do fewer, or some twice
    with FlopCounterMode(display=False) as counter:
        run_watched(model, torch.zeros(1, *shape, device="meta"), modules, look)
    flops = counter.get_flop_counts()["Global"]
    return counter.get_total_flops() // 2, flops.get(torch.ops.aten.bmm, 0) // 2


def count_named(name: str, clip: Sequence[int] = (32, 224, 224), **options) -> Costs:
    """Costs of a network by name; options as for `build`."""
    with torch.device("meta"):
        model = build(name, **options)
    return count(model, clip)
