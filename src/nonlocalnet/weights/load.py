"""Weights of any known source into a network: one that is there, or the one a file describes."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nonlocalnet.models.resnet import VideoResNet
from nonlocalnet.models.zoo import build
from nonlocalnet.nn.block import NonLocalBlock
from nonlocalnet.weights import file as own_file
from nonlocalnet.weights.describe import describe
from nonlocalnet.weights.fit import Coverage, fit, table_of
from nonlocalnet.weights.reader import read_checkpoint


def load_pretrained(
    model: VideoResNet | NonLocalBlock,
    path: str | Path | Mapping[str, Tensor],
    source: str = "auto",
    allow: Sequence[str] = (),
) -> Coverage:
    """Puts weights into a network or into a single block, all of them or none.

    2-D kernels are inflated as in Sec. 4. A classifier for another number of classes stays as it
    was, and so do non-local blocks where the source is an ImageNet ResNet; the report says so.

    Args:
        model: From `build`, or a `NonLocalBlock`; changed in place.
        path: A checkpoint file, or a state dict.
        source: "torchvision" or "timm" (ImageNet ResNets), "caffe2", "slowfast", "mmaction2"
            (mmcv for a block), "pytorchvideo", "gluoncv", "alexhex7" (blocks), "nonlocalnet", or
            "auto" to tell by the names.
        allow: Patterns of names, ours or theirs, that may stay unmatched: "*.nonlocal_block.*"
            starts a network with blocks from one without.

    Returns:
        What became of every tensor.

    Raises:
        ValueError: The file cannot be read, or a tensor of either side has no match; the model is
            as it was then.

    Example:
        >>> theirs = NonLocalBlock(4)
        >>> print(load_pretrained(NonLocalBlock(4), theirs.state_dict()))
        13 tensors from nonlocalnet
    """
    bare = isinstance(model, NonLocalBlock)
    named = "" if isinstance(path, Mapping) else f"{path}: "
    tensors = path if isinstance(path, Mapping) else read_checkpoint(path).tensors
    said = None if isinstance(path, Mapping) else own_file.model_arguments(path).get("preset")
    for key, value in tensors.items():
        if not isinstance(value, Tensor | np.ndarray | np.generic | int | float):
            raise ValueError(f"{key} is a {type(value).__name__}, not a tensor or an array")
    tensors = {key: torch.as_tensor(value) for key, value in tensors.items()}
    wanted = model.state_dict()
    try:
        table = table_of(tensors, source, bare)
        state, report = fit(wanted, tensors, table, bare=bare, allow=allow, other_head=True)
    except ValueError as error:
        raise ValueError(f"{named}{error}") from None
    model.load_state_dict(state, strict=False)
    layout = getattr(model, "config", {}).get("preset")
    layouts = {said} if said else table.layouts
    if layouts and layout and layout not in layouts:
        report.notes.append(
            f"the network has the layout {layout!r}, {table.name} {'says' if said else 'trains'} "
            f"{said or table.preset!r}: its logits will not be those of the source "
            "(from_checkpoint builds the source's layout)"
        )
    return report


def from_checkpoint(
    path: str | Path, source: str = "auto", **options: Any
) -> tuple[VideoResNet, Coverage]:
    """The network that a file describes, in the layout of its source, with all its weights.

    Depth, inflation, non-local blocks and classes come from names and shapes. Two things leave no
    trace there: a dot product has the names of an embedded gaussian, and the layouts of one source
    share theirs. Both are taken from the file's name and settings, or else the source's usual;
    `report.notes` says what was taken. A bare state dict of ours says neither, nor its blocks'
    extent, scale and subsampling: a model file does.

    Args:
        path: A checkpoint, or a model file of ours.
        source: As for `load_pretrained`.
        **options: Of `build`, to say better: kind="dot_product", preset="official_8x8", ...

    Returns:
        The network in eval mode, and what became of every tensor.

    Raises:
        ValueError: The file cannot be read, holds no network of ours, a tensor has no match, or
            blocks are asked for that an ImageNet ResNet does not have.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     torch.save(build("nl1_i3d_tiny", 3).state_dict(), f"{folder}/mine.pth")
        ...     model, report = from_checkpoint(f"{folder}/mine.pth")
        >>> model.config["name"], model.fc.out_features
        ('nl1_i3d_tiny', 3)
    """
    ours = any(own_file.is_ours(path, key) for key in (own_file.KEY, own_file.DETECTOR_KEY))
    if source in ("auto", "nonlocalnet") and ours:
        if options:
            raise ValueError(f"{path}: a model file of ours says itself what it is; drop {options}")
        return own_file.read(path)[0], Coverage(source="nonlocalnet")
    checkpoint = read_checkpoint(path)
    try:
        table = table_of(checkpoint.tensors, source, bare=False)
        arguments, notes = describe(checkpoint.tensors, table, checkpoint.text)
        if not arguments["nonlocal_"]:
            del arguments["nonlocal_"]  # so that a name with blocks has them
        with torch.device("meta"):
            model = build(**{**arguments, **options})
        state, report = fit(model.state_dict(), checkpoint.tensors, table)
        if report.kept:
            raise ValueError(
                f"has no non-local blocks, and {model.config['name']} was asked for with some; "
                "build it, and load_pretrained puts the other weights into it"
            )
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    model.load_state_dict(state, assign=True)
    report.notes += notes
    return model.eval(), report
