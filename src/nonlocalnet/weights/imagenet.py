"""ResNets for images, with the names of torchvision and timm: 2-D kernels, inflated (Sec. 4)."""

from nonlocalnet.weights.table import Table

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
    clip={
        "mean": (0.485, 0.456, 0.406),
        "std": (0.229, 0.224, 0.225),
        "short_side": (256, 320),
    },
)
