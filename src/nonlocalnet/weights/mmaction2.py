"""mmaction2, whose block is mmcv's `NonLocal3d`: state dicts under `state_dict`.

A block that pools keeps the convolutions of phi and g inside a Sequential, hence `phi.0.conv`.
C2D is made of 2-D convolutions there, on frames folded into the batch.
"""

from nonlocalnet.weights.table import IMAGENET_PIXELS, Fill, Table

MMACTION2 = Table(
    name="mmaction2",
    trunk=(
        ("conv1.{w}", "backbone.conv1.conv.{w}"),
        ("bn1.{n}", "backbone.conv1.bn.{n}"),
        ("res{s}.{b}.conv{c}.{w}", "backbone.layer{s}.{b}.conv{c}.conv.{w}"),
        ("res{s}.{b}.bn{c}.{n}", "backbone.layer{s}.{b}.conv{c}.bn.{n}"),
        ("res{s}.{b}.downsample.0.{w}", "backbone.layer{s}.{b}.downsample.conv.{w}"),
        ("res{s}.{b}.downsample.1.{n}", "backbone.layer{s}.{b}.downsample.bn.{n}"),
        ("fc.{w}", "cls_head.fc_cls.{w}"),
    ),
    place=("res{s}.{b}.nonlocal_block.", "backbone.layer{s}.{b}.non_local_block."),
    block=(
        ("theta.{w}", "theta.conv.{w}"),
        ("phi.{w}", "phi.0.conv.{w}"),
        ("phi.{w}", "phi.conv.{w}"),
        ("g.{w}", "g.0.conv.{w}"),
        ("g.{w}", "g.conv.{w}"),
        ("w_f", "concat_project.conv.weight"),
        ("w_z.{w}", "conv_out.conv.{w}"),
        ("norm.{n}", "conv_out.bn.{n}"),
    ),
    words={"s": {"2": "1", "3": "2", "4": "3", "5": "4"}},
    fills=(
        Fill(
            name="w_z.bias",
            value=0.0,
            beside="norm.weight",
            unless=("w_z.bias",),
            why="conv_out has no bias before its batch norm",
        ),
    ),
    preset="mmaction2",
    presets=(("-nopool", "slowfast_nopool"),),
    preset_2d="official_8x8",
    unpooled=r".*\bg\.conv\.weight",
    clip={**IMAGENET_PIXELS, "short_side": (256, 256)},
)
