"""What each layer of a network gives for an example, found without a trace left behind.

Floor    nn.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(frozen=True, kw_only=True)
class FeatureMap:
    """A layer's output with channels on axis 1 and one to three spatial axes after it."""

    shape: tuple[int, ...]
    device: torch.device
    dtype: torch.dtype


@contextmanager
def unnoticed(model: nn.Module) -> Generator[None]:
    """Eval mode without gradients inside; modes and random state as before, outside."""
    modes = [(module, module.training) for module in model.modules()]
    tensors = [*model.parameters(), *model.buffers()]
    cards = {tensor.device for tensor in tensors if tensor.device.type == "cuda"}
    with torch.no_grad(), torch.random.fork_rng(devices=list(cards)):
        try:
            for module, _ in modes:
                module.training = False
            yield
        finally:
            for module, mode in modes:
                module.training = mode


def run_watched(
    model: nn.Module, example: Any, modules: Iterable[nn.Module], look: Callable[..., None]
) -> None:
    """Run the model unnoticed on one argument, or on a tuple of them.

    `look` is called as a forward hook, (module, inputs, output), of each of the modules.
    """
    handles = [module.register_forward_hook(look) for module in modules]
    try:
        with unnoticed(model):
            model(*example) if isinstance(example, tuple) else model(example)
    finally:
        for handle in handles:
            handle.remove()


def probe(model: nn.Module, example: Any) -> dict[str, FeatureMap | str]:
    """By layer name, the feature map it gave, or else what it gave in words."""
    found: dict[str, FeatureMap | str] = {}
    names = {module: name for name, module in model.named_modules()}
    last: list[nn.Module] = []  # the last layer that declares its output's width

    def look(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        last[:] = [module] if declared_width(module) else last
        moved = _moves_axes(module, inputs, output)
        found[names[module]] = describe(output, last[0] if last else None, moved)

    run_watched(model, example, names, look)
    return found


def declared_width(module: nn.Module) -> int | None:
    """The channels a convolution, linear or normalising layer says it gives."""
    if isinstance(module, nn.LayerNorm):
        return module.normalized_shape[-1]
    for name in ("out_channels", "out_features", "num_features", "num_channels"):
        value = getattr(module, name, None)
        if isinstance(value, int) and any(True for _ in module.parameters(recurse=False)):
            return value
    return None


def _moves_axes(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> bool:
    """Whether a layer without layers inside gives its input's axes in another order."""
    if any(True for _ in module.children()) or not inputs:
        return False
    both = isinstance(inputs[0], Tensor) and isinstance(output, Tensor)
    before, after = (inputs[0].shape, output.shape) if both else ((), ())
    return before != after and sorted(before) == sorted(after)


def describe(output: Any, last: nn.Module | None, moved: bool = False) -> FeatureMap | str:
    """The output as a feature map, or in words; the width of `last` tells channels from places."""
    if not isinstance(output, Tensor):
        return f"a {type(output).__name__}"
    shape = tuple(output.shape)
    if output.ndim not in (3, 4, 5) or not output.is_floating_point():
        return f"a tensor {shape} of {output.dtype}"
    # Convolutions put channels first, and branches that are joined are wider than the last of them.
    tells = moved or output.ndim == 3 or isinstance(last, nn.Linear | nn.LayerNorm)
    width = declared_width(last) if last is not None and tells else None
    if width == shape[-1] and width != shape[1]:
        return f"{'tokens' if output.ndim == 3 else 'a channel-last map'} {shape}"
    return FeatureMap(shape=shape, device=output.device, dtype=output.dtype)
