"""ResNets for images, with the names of torchvision and timm: 2-D kernels, inflated (Sec. 4)."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from nonlocalnet.weights.table import IMAGENET_PIXELS, Table

IMAGENET = Table(
    name="torchvision",
    trunk=(
        ("conv1.{w}", "conv1.{w}"),
        ("bn1.{n}", "bn1.{n}"),
        ("res{s}.{b}.conv{c}.{w}", "layer{s}.{b}.conv{c}.{w}"),
        ("res{s}.{b}.bn{c}.{n}", "layer{s}.{b}.bn{c}.{n}"),
        ("res{s}.{b}.downsample.0.{w}", "layer{s}.{b}.downsample.0.{w}"),
        ("res{s}.{b}.downsample.1.{n}", "layer{s}.{b}.downsample.1.{n}"),
        ("fc.{w}", "fc.{w}"),
    ),
    words={"s": {"2": "1", "3": "2", "4": "3", "5": "4"}},
    never="nonlocal_block.",
    clip={**IMAGENET_PIXELS, "short_side": (256, 320)},
)


@dataclass(frozen=True, kw_only=True)
class ImageNet:
    """What the tensors of an image network do not say about it."""

    preset: str = "paper"
    build: Mapping[str, Any] = field(default_factory=dict)  # further arguments of `build`
    clip: Mapping[str, Any] = field(default_factory=lambda: IMAGENET_PIXELS)
    bgr: bool = False
    """conv1 reads blue, green, red."""


_ODD = {
    # Half the filters, from Caffe: stride on the 1x1, unpadded pool, BGR from 0 to 255.
    r"resnet50_thin": ImageNet(
        preset="official",
        build={"stem_width": 64, "stride_in_1x1": True, "pool1_ceil": True},
        clip={"mean": (123 / 255, 117 / 255, 104 / 255), "std": 1 / 255},
        bgr=True,
    ),
}


def image_facts(file_name: str) -> ImageNet:
    """How a network for images was built and fed; those of torchvision unless the name is known.

    Example:
        >>> image_facts("resnet50_thin.npz").bgr, image_facts("resnet50-0676ba61.pth").bgr
        (True, False)
    """
    return next((odd for name, odd in _ODD.items() if re.search(name, file_name)), ImageNet())
