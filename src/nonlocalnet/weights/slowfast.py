"""PySlowFast: state dicts under `model_state`."""

from nonlocalnet.weights.table import RELEASED_CLIP, Table

SLOWFAST = Table(
    name="slowfast",
    trunk=(
        ("conv1.{w}", "s1.pathway0_stem.conv.{w}"),
        ("bn1.{n}", "s1.pathway0_stem.bn.{n}"),
        ("res{s}.{b}.conv{c}.{w}", "s{s}.pathway0_res{b}.branch2.{c}.{w}"),
        ("res{s}.{b}.bn{c}.{n}", "s{s}.pathway0_res{b}.branch2.{c}_bn.{n}"),
        ("res{s}.{b}.downsample.0.{w}", "s{s}.pathway0_res{b}.branch1.{w}"),
        ("res{s}.{b}.downsample.1.{n}", "s{s}.pathway0_res{b}.branch1_bn.{n}"),
        ("fc.{w}", "head.projection.{w}"),
    ),
    place=("res{s}.{b}.nonlocal_block.", "s{s}.pathway0_nonlocal{b}."),
    block=(
        ("theta.{w}", "conv_theta.{w}"),
        ("phi.{w}", "conv_phi.{w}"),
        ("g.{w}", "conv_g.{w}"),
        ("w_z.{w}", "conv_out.{w}"),
        ("norm.{n}", "bn.{n}"),
    ),
    words={"c": {"1": "a", "2": "b", "3": "c"}},
    preset="slowfast",
    presets=(("NOPOOL|c2d_nopool", "slowfast_nopool"),),
    clip=RELEASED_CLIP,
)
