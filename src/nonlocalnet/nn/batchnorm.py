"""Batch norm where a batch says too little: frozen, as an affine map, or measured precisely.

Source   Sec. 5.1 freezes all batch norms of the 128-frame networks; the released code does it with
         "affine" layers, and measures 200 batches anew before each evaluation.
Floor    nn.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from collections.abc import Iterable
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules import batchnorm

from nonlocalnet.nn.insert import nonlocal_blocks
from nonlocalnet.nn.probe import unnoticed

AnyBatchNorm = batchnorm._BatchNorm  # pyright: ignore[reportPrivateUsage]
"""What all batch norms are."""


class FrozenBatchNorm(AnyBatchNorm):
    """A batch norm of 1-D, 2-D or 3-D input that stays in eval mode, whatever `train` says."""

    def train(self, mode: bool = True) -> "FrozenBatchNorm":
        """Sets the mode of its children (an inserted block may be one), not its own."""
        super().train(mode)
        self.training = False
        return self

    def _check_input_dim(self, input: Tensor) -> None:
        pass


def freeze_bn(model: nn.Module, affine: bool = True, blocks: bool = True) -> list[str]:
    """Fix the statistics of every batch norm, so that small batches train well (Sec. 5.1).

    Freeze after loading weights: the statistics of a fresh network are not those of any data.
    Names, keys and parameters stay as they were.

    Args:
        model: Any network; changed in place, for good.
        affine: Fix the scales and shifts too, as the released code does; False trains them.
        blocks: Those of non-local blocks too; False lets fresh blocks learn beside a fixed trunk.

    Returns:
        The names of the batch norms.

    Raises:
        ValueError: There is none, it keeps no statistics, or its scale would be fixed at zero (a
            fresh non-local block would be the identity for ever); nothing is frozen then.

    Example:
        >>> net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8))
        >>> freeze_bn(net)
        ['1']
        >>> net.train()[1].training
        False
    """
    apart = set() if blocks else {p for b in nonlocal_blocks(model).values() for p in b.modules()}
    norms = {
        name: part
        for name, part in model.named_modules()
        if isinstance(part, AnyBatchNorm) and part not in apart
    }
    if not norms:
        raise ValueError("the model has no batch norm, so nothing would be frozen")
    for name, norm in norms.items():
        if norm.running_mean is None:
            raise ValueError(
                f"{name!r} keeps no running statistics, so there is nothing to freeze it at; build "
                "it with track_running_stats=True"
            )
        if affine and norm.affine and not norm.weight.any():
            raise ValueError(
                f"{name!r} has scale zero, and frozen there its branch would never wake; load "
                "weights first, freeze before inserting blocks, or build blocks with norm=None"
            )
    for norm in norms.values():
        norm.__class__ = _frozen(type(norm))  # so that hooks, parameters and their owners stay
        norm.training = False
        for parameter in norm.parameters(recurse=False):
            parameter.requires_grad_(not affine)
    return list(norms)


@cache
def _frozen(kind: type[AnyBatchNorm]) -> type[FrozenBatchNorm]:
    """The frozen form of a class: other people's may do more in `forward`, which stays."""
    if issubclass(kind, FrozenBatchNorm):
        return kind
    if kind.__module__.startswith("torch."):
        return FrozenBatchNorm
    return type(f"Frozen{kind.__name__}", (FrozenBatchNorm, kind), {})


def affine_bn(model: nn.Module) -> list[str]:
    """Freeze every batch norm and fold its statistics into scale and shift: y = weight x + bias.

    The "affine" layers of the released 128-frame networks. Keys and outputs in eval mode stay: the
    statistics become mean 0 and variance 1 - eps.

    Args:
        model: Any network; changed in place, for good.

    Returns:
        The names of the layers.

    Raises:
        ValueError: As `freeze_bn`, or a batch norm has no scale and shift.

    Example:
        >>> net = nn.Sequential(nn.BatchNorm1d(1))
        >>> net[0].running_mean.fill_(3.0), net[0].running_var.fill_(4.0)
        (tensor([3.]), tensor([4.]))
        >>> affine_bn(net), net[0].weight.item(), net[0].bias.item()
        (['0'], 0.49999937415122986, -1.4999980926513672)
    """
    plain = [
        name
        for name, part in model.named_modules()
        if isinstance(part, AnyBatchNorm) and len(list(part.parameters(recurse=False))) < 2
    ]
    if plain:
        raise ValueError(f"{plain[0]!r} has no scale and shift to fold into; use freeze_bn")
    names = freeze_bn(model)
    for name in names:
        norm: Any = model.get_submodule(name)
        with torch.no_grad():
            scale = norm.weight.double() / (norm.running_var.double() + norm.eps).sqrt()
            norm.bias.copy_(norm.bias.double() - norm.running_mean.double() * scale)
            norm.weight.copy_(scale)
            norm.running_mean.zero_()
            norm.running_var.fill_(1 - norm.eps)
    return names


def precise_bn(model: nn.Module, batches: Iterable[Any]) -> list[str]:
    """Set running statistics to the true mean and variance over the batches.

    Training keeps a moving average of each batch's statistics, which lags behind the weights. This
    runs the network as in training (batch norm by batch, nothing else random, no gradients) and
    gives each batch norm the statistics of all its inputs taken together. Frozen ones stay.

    Args:
        model: Changed in place; modes and random state stay as they were.
        batches: What the model takes: one argument each, or a tuple of them. The released code
            takes 200 batches of training clips.

    Returns:
        The names of the batch norms that were set.

    Raises:
        ValueError: The model has no batch norm to set, or there is no batch.

    Example:
        >>> net = nn.Sequential(nn.BatchNorm1d(1))
        >>> precise_bn(net, [torch.tensor([[0.0], [2.0]]), torch.tensor([[4.0], [6.0]])])
        ['0']
        >>> net[0].running_mean.item(), round(net[0].running_var.item(), 4)
        (3.0, 6.6667)
    """
    norms = {
        part: name
        for name, part in model.named_modules()
        if isinstance(part, AnyBatchNorm)
        and not isinstance(part, FrozenBatchNorm)
        and part.running_mean is not None
    }
    if not norms:
        raise ValueError("the model has no batch norm whose statistics could be set")
    sums: dict[nn.Module, tuple[Any, Any, Any]] = {}  # count, mean, squared deviations from it

    def look(norm: nn.Module, inputs: tuple[Tensor]) -> None:
        x = inputs[0]
        count = x.numel() // x.shape[1]
        var, mean = torch.var_mean(x.float(), [0, *range(2, x.ndim)], correction=0)
        before, old, squares = sums.get(norm, (0, 0.0, 0.0))
        total, moved = before + count, mean.double() - old
        squares = squares + count * var.double() + moved.square() * before * count / total
        sums[norm] = total, old + moved * count / total, squares

    handles = [norm.register_forward_pre_hook(look) for norm in norms]
    try:
        with unnoticed(model), ForgetfulBatchNorm(model):
            for norm in norms:
                norm.training = True
            for batch in batches:
                model(*batch) if isinstance(batch, tuple) else model(batch)
    finally:
        for handle in handles:
            handle.remove()
    if not sums:
        raise ValueError("no batch reached a batch norm; give at least one")
    for norm, (count, mean, squares) in sums.items():
        statistics: Any = norm
        statistics.running_mean.copy_(mean)
        statistics.running_var.copy_(squares / (count - 1))
    return [norms[norm] for norm in norms if norm in sums]


class ForgetfulBatchNorm:
    """Inside, batch norms in training mode leave their running statistics as they are.

    May be entered again and again, as a graph that is kept runs backward.
    """

    def __init__(self, model: nn.Module) -> None:
        self.norms: list[Any] = [part for part in model.modules() if isinstance(part, AnyBatchNorm)]

    def __enter__(self) -> None:
        self.before = [(norm.momentum, norm.num_batches_tracked) for norm in self.norms]
        for norm in self.norms:
            norm.momentum, norm.num_batches_tracked = 0.0, None

    def __exit__(self, *_: object) -> None:
        for norm, state in zip(self.norms, self.before, strict=True):
            norm.momentum, norm.num_batches_tracked = state
