"""Is a block awake, and where does it look? A few numbers per block, for logs and reports.

Floor    nn.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

import math
import warnings
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from nonlocalnet.nn.block import NonLocalBlock
from nonlocalnet.nn.insert import nonlocal_blocks
from nonlocalnet.nn.probe import run_watched

SATURATED = 0.9
ROWS = 64


@dataclass(frozen=True, kw_only=True)
class BlockStats:
    """The state of one block on one batch, over `ROWS` evenly spread queries per clip.

    Kinds without a softmax have weights of either sign; their rows are |w| / sum |w| here.
    """

    gamma: float | None
    """Mean absolute scale of the last batch norm: 0 at the start; None without batch norm."""

    branch_ratio: float
    """Norm of what the block adds over the norm of its input: 0 at the start."""

    entropy: float
    """Mean entropy of the rows, in nats; `uniform_entropy` if it looks everywhere alike."""

    uniform_entropy: float
    """Mean logarithm of the number of keys that a query has."""

    row_max: float
    """Mean largest weight of a row; near 1 the block looks at one place only."""

    distance: float
    """Mean distance looked at within a frame, in feature cells."""

    frames: float
    """Mean distance looked at in time, in feature frames (0 for images)."""


def block_stats(model: nn.Module, batch: Any) -> dict[str, BlockStats]:
    """Statistics of every block of the model on one batch, by module name.

    Args:
        model: Run once in eval mode without gradients; left as it was.
        batch: What the model takes: one argument, or a tuple of them.

    Returns:
        One entry per block that ran. Warns of blocks whose mean row maximum exceeds 0.9.

    Raises:
        ValueError: The model has no block, or none that ran.

    Example:
        >>> net = nn.Sequential(nn.Conv2d(3, 8, 1), NonLocalBlock(8, ndim=2))
        >>> block_stats(net, torch.randn(1, 3, 6, 6))["1"].branch_ratio
        0.0
    """
    stats: dict[str, BlockStats] = {}
    blocks = nonlocal_blocks(model)
    if not blocks:
        raise ValueError("the model holds no NonLocalBlock; insert_nonlocal puts them in")
    names = {block: name for name, block in blocks.items()}

    def look(block: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> None:
        assert isinstance(block, NonLocalBlock)
        stats[names[block]] = _measure(block, inputs[0], output)

    run_watched(model, batch, names, look)
    if not stats:
        raise ValueError(f"none of the blocks {', '.join(blocks)} ran on the batch")
    for name, found in stats.items():
        if found.row_max > SATURATED and found.uniform_entropy > 0:
            warnings.warn(
                f"block {name!r} is saturated: the mean row maximum is {found.row_max:.2f} "
                f"(above {SATURATED}), each position looks at one place; lower its scale "
                "(inner_channels ** -0.5)",
                stacklevel=2,
            )
    return stats


def _measure(block: NonLocalBlock, x: Tensor, output: Tensor) -> BlockStats:
    shape = x.shape[2:]
    count = math.prod(shape)
    flat = torch.linspace(0, count - 1, min(ROWS, count), device=x.device).round().long()
    positions = torch.stack(torch.unravel_index(flat, tuple(shape)), dim=1)  # (R, ndim)
    rows = block.weights(x, positions).double().abs().flatten(2)  # (B, R, M)
    rows = rows / rows.sum(-1, keepdim=True).clamp_min(torch.finfo(torch.double).tiny)
    grid = block.key_grid(shape)
    centres = block.key_centres(shape).to(x.device).flatten(0, -2)  # (M, ndim)
    apart = (positions[:, None] - centres).abs().double()  # (R, M, ndim)
    in_time = apart[..., 0] if block.ndim == 3 else torch.zeros_like(apart[..., 0])
    in_space = apart[..., 1:] if block.ndim == 3 else apart
    norm = block.norm
    return BlockStats(
        gamma=None if norm is None else norm.weight.abs().mean().item(),
        branch_ratio=((output - x).double().norm() / x.double().norm()).item(),
        entropy=torch.special.entr(rows).sum(-1).mean().item(),
        uniform_entropy=_keys(block, grid, positions).double().log().mean().item(),
        row_max=rows.amax(-1).mean().item(),
        distance=(rows * in_space.norm(dim=-1)).sum(-1).mean().item(),
        frames=(rows * in_time).sum(-1).mean().item(),
    )


def _keys(block: NonLocalBlock, grid: list[int], positions: Tensor) -> Tensor:  # (R, ndim) -> (R,)
    """How many keys each query has."""
    group = block.group_frames
    if group is None:
        own = {"spacetime": grid, "space": grid[1:], "time": grid[:1]}[block.extent]
        return torch.full_like(positions[:, 0], math.prod(own))
    first = positions[:, 0] - positions[:, 0] % group
    return (grid[0] - first).clamp_max(group) * math.prod(grid[1:])  # the last may be shorter
