"""y_i = sum over j of ReLU(a_i + b_j) g_j without the N x M pairs: sort, running sums, search.

A pair is active where b_j > -a_i. With the keys sorted by falling b, the active ones of a query
are the first k_i, and

    y_i = a_i (sum of the first k_i g) + (sum of the first k_i b g),

two rows of two tables of running sums. Only a + b matters, so the sums use a + mean(b) and
b - mean(b): the two halves then stay small and do not cancel. k_i comes from the a and b given,
so an exact tie (a_i + b_j = 0) is inactive, as in ReLU and its gradient.

Letters  B batch, N queries, M keys, C channels of g.
Floor    ops.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from nonlocalnet.ops.operators import first_order, fold_vmapped

ROWS = 2048
"""Queries gathered at a time in the gradient of a: 2 MiB at 256 channels."""


def sorted_relu(
    a: Tensor,  # (B, N)
    b: Tensor,  # (B, M)
    g: Tensor,  # (B, M, C)
) -> Tensor:  # (B, N, C)
    """The sum above, all three in one floating-point type.

    Example:
        >>> a, b = torch.tensor([[0.0, 2.0]]), torch.tensor([[1.0, -2.0, 3.0]])
        >>> sorted_relu(a, b, torch.ones(1, 3, 1)).flatten().tolist()
        [4.0, 8.0]
    """
    return SortedRelu.apply(a, b, g)


class SortedRelu(torch.autograd.Function):
    """Ties the two operators below together for autograd and torch.func."""

    generate_vmap_rule = True

    @staticmethod
    def forward(a: Tensor, b: Tensor, g: Tensor) -> Tensor:
        """The sums."""
        return _forward(a, b, g)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        """Keep the inputs; sorting again is cheaper than reading tables back."""
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, ...]:
        """Gradients with respect to a, b and g."""
        return first_order(_backward, grads[0], *ctx.saved_tensors)


@torch.library.custom_op("nonlocalnet::sorted_relu", mutates_args=())
def _forward(a: Tensor, b: Tensor, g: Tensor) -> Tensor:
    (batch, queries), keys, channels = a.shape, b.shape[1], g.shape[2]
    order, active = _search(a, b)
    a, b = _centre(a, b)
    tables = g.new_zeros(2, batch, keys + 1, channels)
    g = _take(g, order)
    torch.cumsum(g, dim=1, out=tables[0, :, 1:])
    torch.cumsum(g.mul_(b.gather(1, order)[..., None]), dim=1, out=tables[1, :, 1:])
    # Each response is a bag of two rows: a_i times one of the first table, once one of the second.
    bags = torch.stack([active, active + batch * (keys + 1)], dim=-1).flatten(0, 1)
    factors = torch.stack([a, torch.ones_like(a)], dim=-1).flatten(0, 1)
    y = F.embedding_bag(bags, tables.flatten(0, 2), per_sample_weights=factors, mode="sum")
    return y.unflatten(0, (batch, queries))


@_forward.register_fake
def _(a: Tensor, b: Tensor, g: Tensor) -> Tensor:
    return g.new_empty(*a.shape, g.shape[2])


@torch.library.custom_op("nonlocalnet::sorted_relu_backward", mutates_args=())
def _backward(grad: Tensor, a: Tensor, b: Tensor, g: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    (batch, keys), channels = b.shape, g.shape[2]
    order, active = _search(a, b)
    a, b = _centre(a, b)
    b = b.gather(1, order)
    g = _take(g, order)
    rows, active = grad.flatten(0, 1).contiguous(), active.flatten()

    # a: the gradient at i times the sum of its active g.
    table = g.new_zeros(batch, keys + 1, channels)
    torch.cumsum(g, dim=1, out=table[:, 1:])
    table = table.flatten(0, 1)
    grad_a = torch.cat(
        [
            torch.linalg.vecdot(table.index_select(0, part), row)
            for part, row in zip(active.split(ROWS), rows.split(ROWS), strict=True)
        ]
    )

    # b and g: the same sums the other way round. The query i reaches the first k_i keys, so the
    # gradients are summed by k, then from the last key to the first.
    by_active, queries = active.sort()
    bounds = torch.arange(batch * (keys + 1), device=a.device)
    starts = torch.searchsorted(by_active, bounds)

    def reaching(factors: Tensor | None) -> Tensor:  # (B, M, C), key j: sum over i with k_i > j
        sums = F.embedding_bag(queries, rows, starts, mode="sum", per_sample_weights=factors)
        return sums.unflatten(0, (batch, keys + 1))[:, 1:].flip(1).cumsum(1).flip(1)

    plain = reaching(None)
    weighted = reaching(a.flatten()[queries])
    grad_b = torch.linalg.vecdot(g, plain)
    grad_g = weighted.addcmul_(plain, b[..., None])
    back = order.argsort(dim=1)
    return grad_a.view(a.shape), grad_b.gather(1, back), _take(grad_g, back)


@_backward.register_fake
def _(grad: Tensor, a: Tensor, b: Tensor, g: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    a, b, g = (part.new_empty(part.shape) for part in (a, b, g))
    return a, b, g


_forward.register_vmap(fold_vmapped(_forward))
_backward.register_vmap(fold_vmapped(_backward))


def _search(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """The keys by falling b (B, M), and k_i as a row of the tables of all clips (B, N)."""
    rising, order = (-b).sort(dim=1)
    active = torch.searchsorted(rising, a.contiguous())
    first = torch.arange(len(b), device=b.device) * (b.shape[1] + 1)
    return order, active + first[:, None]


def _centre(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    mean = b.mean(dim=1, keepdim=True)
    return a + mean, b - mean


def _take(rows: Tensor, order: Tensor) -> Tensor:
    """Rows (B, M, C) in the order (B, M), as a new tensor."""
    first = torch.arange(len(rows), device=rows.device) * rows.shape[1]
    return rows.flatten(0, 1).index_select(0, (order + first[:, None]).flatten()).view(rows.shape)
