"""Model files of ours from foreign checkpoints, and state dicts for others from our networks."""

import math
import re
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nonlocalnet.models.resnet import Bottleneck, MaxPool, VideoResNet
from nonlocalnet.models.zoo import BACKBONES, PRESETS, build
from nonlocalnet.nn.insert import nonlocal_blocks
from nonlocalnet.weights.file import (
    DETECTOR_KEY,
    is_ours,
    probe,
    read,
    save,
    save_atomically,
)
from nonlocalnet.weights.fit import TABLES, Coverage
from nonlocalnet.weights.load import from_checkpoint

# Frames and stride of the clips that the published networks of a layout were trained on.
_CLIPS = {"official": (32, 2), "mmaction2": (32, 2), "gluoncv": (32, 2), "paper": (32, 2)}
_DEPTHS = {name: list(BACKBONES[name].depths) for name in ("r50", "r101")}
_STATE = {"slowfast": "model_state", "mmaction2": "state_dict"}
_KINDS = {
    "slowfast": ("embedded_gaussian", "dot_product"),
    "mmaction2": ("gaussian", "embedded_gaussian", "dot_product", "concatenation"),
}


def kinetics_labels() -> list[str]:
    """The 400 class names of Kinetics-400 in the order of everyone's logits: alphabetical."""
    text = files("nonlocalnet").joinpath("weights/kinetics400.txt").read_text(encoding="utf-8")
    return text.splitlines()


def convert(
    path: str | Path,
    out: str | Path,
    source: str = "auto",
    labels: Sequence[str] | None = None,
    clip: tuple[int, int] | None = None,
    **options: Any,
) -> Coverage:
    """Writes a model file of ours from a checkpoint of another project.

    The file carries labels, the preprocessing and views of the source, and the probe.

    Args:
        path: The checkpoint.
        out: The model file.
        source: As for `load_pretrained`.
        labels: Class names; None takes those of Kinetics-400 for a network with 400 classes.
        clip: Frames and stride; None takes them from the file's name ("32x2"), or else the
            usual ones of the source.
        **options: Of `build`, as for `from_checkpoint`.

    Raises:
        ValueError: The checkpoint cannot be read or does not fit, or is a model file of ours, or
            labels are missing.
    """
    if is_ours(path):
        raise ValueError(
            f"{path}: a model file of ours already, with labels and clip of its own; use it as it "
            f"is, or say with --to whose names it shall get ({', '.join(_STATE)})"
        )
    model, report = from_checkpoint(path, source, **options)
    classes = model.fc.out_features
    if labels is None and classes != 400:
        raise ValueError(
            f"{path}: has {classes} classes, not the 400 of Kinetics-400; give their names, "
            "one per line, with labels"
        )
    preset = model.config["preset"]
    if clip is None:
        said = re.search(r"(?<!\d)((?:4|8|16|32|64|128)x(?:1|2|4|8|16))(?!\d)", Path(path).name)
        frames, stride = map(int, said[1].split("x")) if said else _CLIPS.get(preset, (8, 8))
    else:
        frames, stride = clip
    save(
        model,
        out,
        labels=kinetics_labels() if labels is None else labels,
        clip={"frames": frames, "stride": stride, "crop": 224, **TABLES[report.source].clip},
        views="10x3",
        source={"file": Path(path).name, "format": report.source, "notes": report.notes},
    )
    return report


def convert_back(path: str | Path, out: str | Path, target: str) -> list[str]:
    """Writes a checkpoint with the names of PySlowFast or mmaction2 from a model file of ours.

    Args:
        path: A model file of ours.
        out: The checkpoint, in torch's format.
        target: "slowfast" or "mmaction2".

    Returns:
        What keeps the target's own network from giving the same logits; empty if nothing does.

    Raises:
        ValueError: The file is none of ours, or holds what the target has no name for.
    """
    if target not in _STATE:
        raise ValueError(f"no names for {target!r}; choose one of {', '.join(_STATE)}")
    model, _ = read(path)
    state, notes = state_dict_for(model, target)
    save_atomically({_STATE[target]: state}, out)
    return notes


def state_dict_for(model: VideoResNet, target: str) -> tuple[dict[str, Tensor], list[str]]:
    """A network's weights under another project's names, and how its own network would differ.

    Raises:
        ValueError: The target has no name for a tensor.
    """
    table, state = TABLES[target], dict(model.state_dict())
    if target == "mmaction2":
        # Its last convolution has no bias before a batch norm; the norm's mean takes it up.
        for name, block in nonlocal_blocks(model).items():
            if block.norm is not None:
                state[f"{name}.norm.running_mean"] = block.norm.running_mean - state.pop(
                    f"{name}.w_z.bias"
                )
    renamed = {}
    for ours, tensor in state.items():
        theirs = table.theirs(ours)
        if not theirs:
            raise ValueError(f"{target} has no name for {ours}; it cannot hold this network")
        is_w_f = ours.endswith(".w_f")
        renamed[theirs[0]] = tensor.reshape(1, -1, 1, 1) if is_w_f else tensor.clone()
    return renamed, _differences(model, target)


def _differences(model: VideoResNet, target: str) -> list[str]:
    notes = []
    theirs = PRESETS[target]
    family, _, backbone = model.config["name"].rpartition("_")
    known = backbone if backbone in _DEPTHS else "r50"
    depths = model.config["depths"]
    if depths not in _DEPTHS.values():
        choice = " or ".join(map(str, _DEPTHS.values()))
        notes.append(f"residual blocks per stage are {depths} here, {choice} there")
    with torch.device("meta"):
        width = model.config["width"]
        trunk = re.sub(r"nl\d+_", "", family)  # its blocks stand where that depth allows
        there = _layout(build(f"{trunk}_{known}", preset=target, depths=depths, width=width))
    for name, value in _layout(model).items():
        if value != there[name]:
            notes.append(f"{name} is {value} here, {there[name]} there")
    if family.endswith("i3d333") and target == "slowfast":
        notes.append("its 3x3x3 kernels are unknown there")
    for name in ("stride_in_1x1", "pool1_ceil"):
        if model.config.get(name):
            notes.append(f"{name} is set here, and unknown there")
    for block in nonlocal_blocks(model).values():
        scale = block.inner_channels**-0.5 if theirs.block["scale"] is None else 1.0
        due = {
            "inner_channels": max(block.channels // 2, 1),
            "subsample": 2,
            "subsample_input": theirs.block["subsample_input"],
            "scale": scale if block.kind == "embedded_gaussian" else 1.0,
            "extent": "spacetime",
            "group_frames": None,
        }
        notes += [
            f"{name} of the blocks is {getattr(block, name)} here, {due[name]} there"
            for name in due
            if getattr(block, name) != due[name]
        ]
        if block.kind not in _KINDS[target]:
            notes.append(f"the blocks are {block.kind}, which is unknown there")
        if block.norm is None and target == "slowfast":
            notes.append("the blocks have no batch norm here, and always one there")
    return list(dict.fromkeys(notes))


def _layout(model: VideoResNet) -> dict[str, Any]:
    """What of a trunk another project may have otherwise, by name."""
    pools = {
        name: (pool.kernel_size, pool.stride, pool.padding) if isinstance(pool, MaxPool) else None
        for name, pool in (("pool1", model.pool1), ("pool2", model.pool2))
    }
    kernels = {
        f"kernels over time of {name}": (block.conv1.kernel_size[0], block.conv2.kernel_size[0])
        for name, block in model.named_modules()
        if isinstance(block, Bottleneck)
    }
    return {
        "stem_stride_t": model.conv1.stride[0],
        **pools,
        "width of conv1": model.conv1.out_channels,
        **kernels,
    }


def verify(path: str | Path) -> float:
    """Runs the probe of a model file again; returns the largest difference of an output.

    Of the logits of a network of videos, of the outputs of a detector's parts; relative to the
    largest of them, where that is above 1.

    Raises:
        ValueError: The file cannot be read, or its probe is damaged.
    """
    detector = is_ours(path, DETECTOR_KEY)
    if detector:
        from nonlocalnet.weights import detector as ours  # which needs torchvision

        file = ours.read_detector(path)
        said = file.probe
    else:
        model, meta = read(path)
        said = meta["probe"]
    try:
        seed = int(said["seed"])
        if detector:
            written, now = said["values"], ours.probe(file.model, seed)["values"]
        else:
            shape = tuple(int(size) for size in said["shape"])
            if math.prod(shape) > 2**24:
                raise ValueError(f"its input is {shape}")
            written, now = said["logits"], probe(model, shape, seed)["logits"]
        want, got = (torch.tensor(values, dtype=torch.float32) for values in (written, now))
        if got.shape != want.shape:
            raise ValueError(f"{len(want)} outputs, where {len(got)} are due")
        difference = (got - want).abs().max() / want.abs().max().clamp_min(1.0)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"{path}: its probe is damaged ({error}); write the file again") from None
    return float(difference)
