"""Softmax weights times values, a few rows at a time: no N x M matrix, forward or backward.

Forward keeps one number per query, the log of C(x); backward computes each tile of weights again
from it (seven matrix products in all, where storing the weights takes six).

Letters  B batch, N queries, M keys, D channels of theta and phi, C channels of g.
Floor    ops. The two loops are operators of their own, so that compilers do not unroll them.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from nonlocalnet.ops.operators import first_order, fold_vmapped
from nonlocalnet.ops.pairwise import accumulator

TILE = 2**21
"""Weights held at a time: 8 MiB in float32, and twice that backward. Larger tiles are no faster."""


LEAST = -60.0
"""No logit counts as further below the largest, so no weight is less than 1e-26 of it. Smaller ones
would change nothing but the time: products with subnormal numbers take several times as long."""


def softmax_rows(
    theta: Tensor,  # (B, N, D)
    phi: Tensor,  # (B, M, D)
    g: Tensor,  # (B, M, C)
    key_bias: Tensor,  # (B, M)
    scale: float,
) -> Tensor:  # (B, N, C)
    """Softmax over j of scale * (theta_i . phi_j + key_bias_j), times g.

    Example:
        >>> theta, phi = torch.zeros(1, 2, 3), torch.zeros(1, 2, 3)
        >>> g = torch.tensor([[[1.0], [3.0]]])
        >>> softmax_rows(theta, phi, g, torch.zeros(1, 2), 1.0).flatten().tolist()
        [2.0, 2.0]
    """
    y, _ = SoftmaxRows.apply(theta, phi, g, key_bias, scale)
    return y


class SoftmaxRows(torch.autograd.Function):
    """Ties the two operators below together for autograd and torch.func."""

    generate_vmap_rule = True

    @staticmethod
    def forward(
        theta: Tensor, phi: Tensor, g: Tensor, key_bias: Tensor, scale: float
    ) -> tuple[Tensor, Tensor]:
        """Responses, and the log of each query's normaliser."""
        return _forward(theta, phi, g, key_bias, scale)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
        """Keep inputs and outputs: nothing of size N x M."""
        *tensors, ctx.scale = inputs
        ctx.mark_non_differentiable(output[1])
        ctx.save_for_backward(*tensors, *output)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients with respect to theta, phi, g and key_bias."""
        return *first_order(_backward, grads[0], *ctx.saved_tensors, ctx.scale), None


@torch.library.custom_op("nonlocalnet::softmax_rows", mutates_args=())
def _forward(
    theta: Tensor, phi: Tensor, g: Tensor, key_bias: Tensor, scale: float
) -> tuple[Tensor, Tensor]:
    y = g.new_empty(*theta.shape[:2], g.shape[2])
    log_c = key_bias.new_empty(theta.shape[:2])
    phi, g = accumulator(phi), accumulator(g)
    buffer = phi.new_empty(_largest_tile(theta, phi))
    for clips, rows in tiles(theta.shape[0], theta.shape[1], phi.shape[1]):
        queries = accumulator(theta[clips, rows])
        logits = _pairs(key_bias[clips, None], scale, queries, phi[clips], scale, buffer)
        peak = logits.amax(dim=2, keepdim=True)
        weights = logits.sub_(peak).clamp_(min=LEAST).exp_()
        total = weights.sum(dim=2, keepdim=True)
        y[clips, rows] = torch.bmm(weights, g[clips]).div_(total)
        log_c[clips, rows] = (peak + total.log()).squeeze(2)
    return y, log_c


@_forward.register_fake
def _(
    theta: Tensor, phi: Tensor, g: Tensor, key_bias: Tensor, scale: float
) -> tuple[Tensor, Tensor]:
    return g.new_empty(*theta.shape[:2], g.shape[2]), key_bias.new_empty(theta.shape[:2])


@torch.library.custom_op("nonlocalnet::softmax_rows_backward", mutates_args=())
def _backward(
    grad: Tensor,
    theta: Tensor,
    phi: Tensor,
    g: Tensor,
    key_bias: Tensor,
    y: Tensor,
    log_c: Tensor,
    scale: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    keys, values = accumulator(phi), accumulator(g)
    grad_theta = torch.empty_like(theta, memory_format=torch.contiguous_format)
    grad_phi, grad_g = (torch.zeros(part.shape).to(part) for part in (keys, values))
    grad_bias = torch.zeros_like(key_bias)
    buffers = keys.new_empty(2, _largest_tile(theta, phi))
    for clips, rows in tiles(theta.shape[0], theta.shape[1], phi.shape[1]):
        queries, grad_y = accumulator(theta[clips, rows]), accumulator(grad[clips, rows])
        weights = _pairs(key_bias[clips, None], scale, queries, keys[clips], scale, buffers[0])
        # No weight exceeds 1; with logits in the millions, rounding alone could say otherwise.
        weights.sub_(log_c[clips, rows, None]).clamp_(LEAST, 0).exp_()
        grad_g[clips].baddbmm_(weights.mT, grad_y)
        # The softmax's own gradient: each weight times (its value's gradient - their mean).
        mean = torch.linalg.vecdot(grad_y, accumulator(y[clips, rows]))
        slopes = _pairs(mean[..., None], -1, grad_y, values[clips], 1, buffers[1]).mul_(weights)
        grad_theta[clips, rows] = torch.bmm(slopes, keys[clips]).mul_(scale)
        grad_phi[clips].baddbmm_(slopes.mT, queries, alpha=scale)
        grad_bias[clips] += slopes.sum(dim=1).mul_(scale)
    return grad_theta, grad_phi.to(phi.dtype), grad_g.to(g.dtype), grad_bias


@_backward.register_fake
def _(
    grad: Tensor,
    theta: Tensor,
    phi: Tensor,
    g: Tensor,
    key_bias: Tensor,
    y: Tensor,
    log_c: Tensor,
    scale: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    theta, phi, g, key_bias = (part.new_empty(part.shape) for part in (theta, phi, g, key_bias))
    return theta, phi, g, key_bias


_forward.register_vmap(fold_vmapped(_forward))
_backward.register_vmap(fold_vmapped(_backward))


def tiles(batch: int, queries: int, keys: int) -> Iterator[tuple[slice, slice]]:
    """Clips and rows of each tile of at most `TILE` weights: many whole clips, or part of one.

    Example:
        >>> len(list(tiles(4, 100, 50))), len(list(tiles(4, 12544, 3136)))
        (1, 80)
    """
    rows = min(max(queries, 1), max(TILE // keys, 1))
    rows -= rows % 64 if rows > 64 and rows < queries else 0
    clips = max(TILE // max(queries * keys, 1), 1)
    for first in range(0, batch, clips):
        for row in range(0, queries, rows):
            yield slice(first, first + clips), slice(row, row + rows)


def _largest_tile(theta: Tensor, phi: Tensor) -> int:
    """Weights in the first tile, which no other exceeds; none in an empty batch."""
    (batch, queries), keys = theta.shape[:2], phi.shape[1]
    clips, rows = next(tiles(batch, queries, keys), (slice(0), slice(0)))
    return min(batch, clips.stop) * min(queries, rows.stop) * keys


def _pairs(
    added: Tensor, beta: float, left: Tensor, right: Tensor, alpha: float, buffer: Tensor
) -> Tensor:
    """The sum beta * added + alpha * left @ right^T, in a buffer that every tile uses."""
    shape = (*left.shape[:2], right.shape[1])
    out = buffer[: shape[0] * shape[1] * shape[2]].view(shape)
    return torch.baddbmm(added, left, right.mT, beta=beta, alpha=alpha, out=out)
