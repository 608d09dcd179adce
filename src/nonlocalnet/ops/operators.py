"""What our opaque operators share: a vmap rule, and a plain refusal of second derivatives."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


def fold_vmapped(operator: Callable[..., Any]) -> Callable[..., Any]:
    """The vmap rule of an operator whose every tensor starts with the batch axis.

    The mapped axis joins the batch: one call, on a batch `batch_size` times as long.
    """

    def rule(info: Any, in_dims: tuple[int | None, ...], *arguments: Any) -> tuple[Any, Any]:
        def fold(argument: Any, axis: int | None) -> Any:
            if not isinstance(argument, Tensor):
                return argument
            whole = (info.batch_size, *argument.shape)
            mapped: Tensor = argument.expand(whole) if axis is None else argument.movedim(axis, 0)
            return mapped.flatten(0, 1)

        def unfold(result: Any) -> Any:
            return result.unflatten(0, (info.batch_size, -1))

        folded = [fold(*pair) for pair in zip(arguments, in_dims, strict=True)]
        results = operator(*folded)
        if isinstance(results, Tensor):
            return unfold(results), 0
        unfolded = tuple(map(unfold, results))
        return unfolded, (0,) * len(unfolded)

    return rule


def first_order(operator: Callable[..., Any], *arguments: Any) -> Any:
    """Call an operator that computes gradients; asking for gradients of those is an error.

    torch.func.grad records its backward pass, so that pass needs a function it can record; a
    compiler traces the operator itself.
    """
    if torch.compiler.is_compiling():
        return operator(*arguments)
    return _FirstOrder.apply(operator, *arguments)


class _FirstOrder(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(operator: Callable[..., Any], *arguments: Any) -> Any:
        return operator(*arguments)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        raise RuntimeError(
            "engine='exact' has first derivatives only; take engine='dense' for second ones"
        )
