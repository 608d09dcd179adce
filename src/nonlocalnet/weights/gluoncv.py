"""gluon-cv for PyTorch: bare state dicts, in which the block's W and bn and the fc appear twice."""

from nonlocalnet.weights.table import IMAGENET_PIXELS, Table

GLUONCV = Table(
    name="gluoncv",
    trunk=(
        ("conv1.{w}", "first_stage.0.{w}"),
        ("bn1.{n}", "first_stage.1.{n}"),
        ("res{s}.{b}.conv{c}.{w}", "res_layers.{s}.{b}.conv{c}.{w}"),
        ("res{s}.{b}.bn{c}.{n}", "res_layers.{s}.{b}.bn{c}.{n}"),
        ("res{s}.{b}.downsample.0.{w}", "res_layers.{s}.{b}.downsample.0.{w}"),
        ("res{s}.{b}.downsample.1.{n}", "res_layers.{s}.{b}.downsample.1.{n}"),
        ("fc.{w}", "fc.{w}"),
        ("fc.{w}", "head.1.{w}"),
    ),
    place=("res{s}.{b}.nonlocal_block.", "res_layers.{s}.{b}.nonlocal_block."),
    block=(
        ("theta.{w}", "theta.{w}"),
        ("phi.{w}", "phi.{w}"),
        ("g.{w}", "g.{w}"),
        ("w_z.{w}", "W.{w}"),
        ("w_z.{w}", "W_bn.0.{w}"),
        ("norm.{n}", "bn.{n}"),
        ("norm.{n}", "W_bn.1.{n}"),
    ),
    words={"s": {"2": "0", "3": "1", "4": "2", "5": "3"}},
    preset="gluoncv",
    clip={**IMAGENET_PIXELS, "short_side": (256, 320)},
)
