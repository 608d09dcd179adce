"""Put non-local blocks into any network, list them, and take them out again.

An inserted block is a child `nonlocal_block` of its host layer, run by a forward hook on the
host. The host's own keys and code stay as they were.

Floor    nn.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

import difflib
from collections import Counter
from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from nonlocalnet.nn.block import NonLocalBlock, check_option_names
from nonlocalnet.nn.probe import FeatureMap, probe, run_watched

CHILD = "nonlocal_block"


def insert_nonlocal(
    model: nn.Module, at: Sequence[str], example: Any, **block_options: Any
) -> list[str]:
    """Insert a block after each named layer, on its output; outputs do not change by this.

    Channels and dimension come from one run on `example`, and another one tries the blocks (in eval
    mode, without gradients; modes, statistics and random state are restored). Insert before the
    model is compiled, wrapped for several processes, or handed to an optimizer. A checkpoint of the
    network without blocks still loads: where it has none of a block's keys, that block stays as it
    is.

    Args:
        model: Any network; changed in place.
        at: Layer names as in `model.named_modules()`; an nn.Sequential stands for its last child.
        example: What the model takes: one argument, or a tuple of them.
        **block_options: As for NonLocalBlock, without `channels` and `ndim`.

    Returns:
        The names of the blocks, as in `nonlocal_blocks`.

    Raises:
        ValueError: A name is unknown, does not run, holds a block already, runs whatever children
            it has (as an nn.ModuleDict of layers may), or its output is no feature map (B, C, *S);
            nothing is inserted then.

    Example:
        >>> import torch
        >>> net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU())
        >>> insert_nonlocal(net, at=["0"], example=torch.zeros(1, 3, 9, 9))
        ['0.nonlocal_block']
    """
    if isinstance(at, str):
        raise ValueError(f"at takes a list of layer names, got the text {at!r}; write [{at!r}]")
    if not at:
        raise ValueError('at is empty, so no block would be inserted; name layers, as ["layer3.4"]')
    modules = dict(model.named_modules())
    hosts = [_resolve(name, modules) for name in at]
    if len(set(hosts)) < len(hosts):
        raise ValueError(f"at={list(at)} names a layer twice (they stand for {hosts})")
    check_option_names(block_options)
    maps = probe(model, example)
    blocks = [_block_for(name, modules[name], maps, block_options) for name in hosts]
    for name, block in zip(hosts, blocks, strict=True):
        host = modules[name]
        block.register_load_state_dict_pre_hook(_keep_if_absent)
        host.add_module(CHILD, block.train(host.training))
        host.register_forward_hook(_run_block)
    try:
        _try_out(model, example, {name: modules[name] for name in hosts})
    except ValueError:
        for name in hosts:
            _take_out(modules[name])
        raise
    return [f"{name}.{CHILD}".lstrip(".") for name in hosts]


def remove_nonlocal(model: nn.Module) -> list[str]:
    """Take out every block that `insert_nonlocal` put in; returns their names.

    Blocks that a network was built with, and calls itself, stay.
    """
    removed: list[str] = []
    for name, host in list(model.named_modules()):
        if _take_out(host):
            removed.append(f"{name}.{CHILD}".lstrip("."))
    return removed


def nonlocal_blocks(model: nn.Module) -> dict[str, NonLocalBlock]:
    """Every block in the model by module name, whether inserted or built in."""
    return {name: part for name, part in model.named_modules() if isinstance(part, NonLocalBlock)}


def _run_block(module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> Tensor:
    """The one forward hook. It finds its block through the module, so that copies keep theirs."""
    block = module.get_submodule(CHILD)
    return block(output)


def _take_out(host: nn.Module) -> bool:
    """Whether the layer held an inserted block, which it does no longer."""
    hooks = host._forward_hooks  # pyright: ignore[reportPrivateUsage]: they stand nowhere else
    found = [key for key, hook in hooks.items() if hook is _run_block]
    for key in found:
        del hooks[key]
        delattr(host, CHILD)
    return bool(found)


def _try_out(model: nn.Module, example: Any, hosts: dict[str, nn.Module]) -> None:
    """Refuse layers that run all their children, and so a block once more or on something else."""
    runs: Counter[nn.Module] = Counter()
    blocks = {name: host.get_submodule(CHILD) for name, host in hosts.items()}
    failed = ""

    def count(module: nn.Module, *_: object) -> None:
        runs[module] += 1

    try:
        run_watched(model, example, [*hosts.values(), *blocks.values()], count)
    except Exception as error:  # whatever the block's place among the children leads to
        failed = f" ({' '.join(str(error).split())[:120]})"
    wrong = [name for name, host in hosts.items() if runs[host] != runs[blocks[name]]]
    if failed or wrong:
        raise ValueError(
            f"layer {' or '.join(map(repr, wrong or hosts))} runs whatever children it has, a "
            f"block among them{failed}; name a layer inside it, or the one around it"
        )


def _keep_if_absent(block: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    """Let a checkpoint from before the insertion load: a block it does not know stays as it is."""
    if not any(key.startswith(prefix) for key in state):
        state.update({prefix + key: value for key, value in block.state_dict().items()})


def _resolve(name: str, modules: dict[str, nn.Module]) -> str:
    """The layer that stands for a name: itself, or the last child of a plain Sequential."""
    if name not in modules:
        near = difflib.get_close_matches(name, modules, n=3, cutoff=0.0)
        raise ValueError(f"the model has no layer {name!r}; nearest: {', '.join(near)}")
    module = modules[name]
    while type(module).forward is nn.Sequential.forward and len(list(module.children())):
        last, module = list(module.named_children())[-1]
        name = f"{name}.{last}".lstrip(".")
    return name


def _block_for(
    name: str, host: nn.Module, maps: dict[str, FeatureMap | str], options: dict[str, Any]
) -> NonLocalBlock:
    if hasattr(host, CHILD):
        raise ValueError(
            f"layer {name!r} has a {CHILD!r} of its own; remove_nonlocal takes out an inserted "
            "one, and a network from build takes its blocks as nonlocal_="
        )
    found = maps.get(name, "nothing: it did not run on the example")
    if isinstance(found, str):
        good = {key: value for key, value in maps.items() if isinstance(value, FeatureMap)}
        near = difflib.get_close_matches(name, good, n=3, cutoff=0.0)
        shapes = ", ".join(f"{key} {good[key].shape}" for key in near) or "none"
        raise ValueError(
            f"layer {name!r} gives {found}; a block needs a feature map (B, C, *S). "
            f"Nearest layers that give one: {shapes}"
        )
    block = NonLocalBlock(found.shape[1], ndim=len(found.shape) - 2, **options)
    return block.to(device=found.device, dtype=found.dtype)
