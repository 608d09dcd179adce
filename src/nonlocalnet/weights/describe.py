"""Which of our networks a state dict belongs to, read off its names and shapes."""

import re
from collections.abc import Iterable, Mapping
from statistics import mode
from typing import Any

from torch import Tensor

from nonlocalnet.models.zoo import BACKBONES
from nonlocalnet.weights.table import Table


def describe(
    tensors: Mapping[str, Tensor], table: Table, text: str
) -> tuple[dict[str, Any], list[str]]:
    """Arguments of `build`, and notes on what names and shapes do not say.

    Where tensors contradict each other the majority decides, so that a strict fit names the odd
    one.

    Raises:
        ValueError: No network of ours has such stages, or weight and bias of the classifier
            disagree.
    """
    shapes = {
        ours: tuple(tensor.shape)
        for theirs, tensor in tensors.items()
        if (ours := table.ours(theirs)) is not None
    }
    notes: list[str] = []
    backbone = _backbone(shapes)
    family, flat = _family(shapes)
    places = _places(shapes)
    count = sum(map(len, places.values()))
    prefix = f"nl{count}_" if BACKBONES[backbone].places.get(count) == places else ""
    arguments: dict[str, Any] = {
        "name": f"{prefix}{family}_{backbone}",
        "num_classes": _classes(shapes, table),
        "preset": _preset(table, text, flat, notes),
        "nonlocal_": places,
    }
    width = _width(shapes)
    if width != BACKBONES[backbone].width:
        arguments["width"] = width
    if places:
        arguments |= _block_options(shapes, tensors, table, text, notes)
    return arguments, notes


def _classes(shapes: Mapping[str, tuple[int, ...]], table: Table) -> int:
    counts = {name: shapes[name][0] for name in ("fc.weight", "fc.bias") if shapes.get(name)}
    if len(set(counts.values())) > 1:
        said = " and ".join(f"{table.theirs(name)[0]} {shapes[name]}" for name in counts)
        raise ValueError(f"{said} disagree on the number of classes; the file is damaged")
    return next(iter(counts.values()), 400)


def _backbone(shapes: Iterable[str]) -> str:
    blocks: dict[str, set[int]] = {}
    for name in shapes:
        if match := re.match(r"res([2-5])\.([0-9]+)\.conv", name):
            blocks.setdefault(match[1], set()).add(int(match[2]))
    depths = tuple(len(blocks[stage]) for stage in sorted(blocks))
    for name, backbone in BACKBONES.items():
        if backbone.depths == depths:
            return name
    known = ", ".join(f"{name} {backbone.depths}" for name, backbone in BACKBONES.items())
    raise ValueError(
        f"residual blocks per stage are {depths}, but ours have {known}; this is another network"
    )


def _family(shapes: Mapping[str, tuple[int, ...]]) -> tuple[str, bool]:
    """c2d, i3d or i3d333 by the even blocks of res4, which every inflation changes; and if 2-D."""
    even = [name for name in shapes if re.match(r"res4\.[0-9]*[02468]\.conv[12]\.weight", name)]
    kernels = {
        conv: mode([shapes[name][2:] for name in even if f"conv{conv}" in name] or [(1, 1, 1)])
        for conv in "12"
    }
    flat = len(kernels["1"]) == 2
    if flat:
        return "c2d", True
    if kernels["2"][:1] == (3,):
        return "i3d333", False
    return ("i3d" if kernels["1"][:1] == (3,) else "c2d"), False


def _places(shapes: Iterable[str]) -> dict[str, tuple[int, ...]]:
    places: dict[str, set[int]] = {}
    for name in shapes:
        if match := re.match(r"(res[2-5])\.([0-9]+)\.nonlocal_block\.", name):
            places.setdefault(match[1], set()).add(int(match[2]))
    return {stage: tuple(sorted(places[stage])) for stage in sorted(places)}


def _width(shapes: Mapping[str, tuple[int, ...]]) -> int:
    names = ("conv1.weight", "bn1.weight", "bn1.bias", "res2.0.conv1.weight", "res2.0.bn1.weight")
    return mode([shapes[name][0] for name in names if shapes.get(name)] or [64])


def _preset(table: Table, text: str, flat: bool, notes: list[str]) -> str:
    for pattern, preset in table.presets:
        if match := re.search(pattern, text):
            notes.append(f"layout {preset!r}, since the file says {match[0]!r}")
            return preset
    preset = (flat and table.preset_2d) or table.preset or "paper"
    if table.presets or table.preset is None:
        notes.append(f"layout {preset!r} assumed; preset=... says otherwise")
    return preset


def _block_options(
    shapes: Iterable[str],
    tensors: Iterable[str],
    table: Table,
    text: str,
    notes: list[str],
) -> dict[str, Any]:
    """Options of NonLocalBlock that names and shapes show."""
    inside = {name.rpartition("nonlocal_block.")[2] for name in shapes if "nonlocal_block." in name}
    options: dict[str, Any] = {}
    if "w_f" in inside:
        options["kind"] = "concatenation"
    elif not any(name.startswith(("theta", "phi")) for name in inside):
        options["kind"] = "gaussian"
    elif match := re.search(r"dot.?product", text):
        options["kind"] = "dot_product"
        notes.append(f"kind 'dot_product', since the file says {match[0]!r}")
    else:
        options["kind"] = "embedded_gaussian"
        notes.append("kind 'embedded_gaussian' assumed; kind='dot_product' has the same names")
    if not any(name.startswith("norm.") for name in inside):
        options["norm"] = None
    if table.preset is None:
        notes.append("extent, scale and subsampling of the blocks assumed to be the layout's")
    if table.unpooled and any(re.fullmatch(table.unpooled, name) for name in tensors):
        options["subsample"] = 1
    return options
