"""First weights of a detector's trunk: ImageNet ResNets of torchvision and of Detectron.

Detectron's pickles (R-50.pkl, R-101.pkl, X-152-32x8d-IN5k.pkl) have the blob names of Caffe2. Their
batch norms are affine layers, conv1 reads blue, green, red from 0 to 255, and the MSRA ones (R-50,
R-101) have their strides on the first 1x1 convolutions.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nonlocalnet.weights.caffe2 import CAFFE2
from nonlocalnet.weights.fit import Coverage, fit
from nonlocalnet.weights.imagenet import IMAGENET
from nonlocalnet.weights.reader import read_checkpoint
from nonlocalnet.weights.table import IMAGENET_PIXELS, Table

TORCHVISION = Table(
    name="torchvision",
    trunk=tuple((theirs, theirs) for _, theirs in IMAGENET.trunk if not theirs.startswith("fc")),
    words={"s": {stage: stage for stage in "1234"}},
    ignored=(r"fc\..*", r".*\.num_batches_tracked"),
    never="nonlocal_block.",
)

DETECTRON = Table(
    name="detectron",
    trunk=tuple(
        (ours.replace("res{s}", "layer{s}"), theirs)
        for ours, theirs in CAFFE2.trunk
        if not ours.startswith("fc")
    ),
    words={**CAFFE2.words, "s": {"1": "2", "2": "3", "3": "4", "4": "5"}},
    # conv1_b: noise of about 1e-9 that the conversion from Caffe left; Detectron drops it too.
    ignored=(*CAFFE2.ignored, r"fc1000_[wb]", r"pred_[wb]", "conv1_b"),
    fills=CAFFE2.fills,
    never="nonlocal_block.",
)

PIXELS: Mapping[str, Mapping[str, Any]] = {
    "torchvision": IMAGENET_PIXELS,
    "detectron": {
        "mean": (122.7717 / 255, 115.9465 / 255, 102.9801 / 255),
        "std": (1 / 255,) * 3,
    },
}
"""How each source normalises RGB in 0 .. 1; arguments of `build_detector`."""


def load_trunk(
    model: Any, path: str | Path, tensors: Mapping[str, Tensor] | None = None
) -> Coverage:
    """Puts ImageNet weights into a detector's trunk, all of them or none.

    The detector must have been built for the source: its normalisation (`PIXELS`), and for R-50.pkl
    and R-101.pkl `stride_in_1x1`. Blocks stay as they are.

    Args:
        model: From `build_detector`.
        path: A checkpoint of torchvision or Detectron.
        tensors: What it holds, if it has been read already.

    Raises:
        ValueError: The file cannot be read, a tensor has no match, or the detector normalises its
            images in another way.
    """
    tensors = read_checkpoint(path).tensors if tensors is None else tensors
    table = DETECTRON if "conv1_w" in tensors else TORCHVISION
    due = PIXELS[table.name]["std"]
    if any(abs(a - b) > 1e-6 for a, b in zip(model.transform.image_std, due, strict=True)):
        raise ValueError(
            f"{path}: weights of {table.name}, but the detector normalises its images in another "
            f"way; build it with imagenet={table.name}"
        )
    if table is DETECTRON:
        tensors = {**tensors, "conv1_w": _rgb(tensors["conv1_w"])}
    body = model.backbone.body
    try:
        state, report = fit(body.state_dict(), tensors, table)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    body.load_state_dict(state, strict=False)
    return report


def _rgb(kernel: Any) -> Tensor:
    return torch.as_tensor(kernel).flip(1)
