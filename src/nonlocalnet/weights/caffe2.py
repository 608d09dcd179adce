"""The released pickles (video-nonlocal-net, long-term feature banks): blob names of Caffe2.

`riv` is the running variance, whatever its name says. Networks for long clips hold an affine
layer in place of each batch norm: scale and bias only.
"""

from nonlocalnet.weights.table import RELEASED_CLIP, Fill, Table

_AFFINE = "the file holds affine layers, which are batch norms with fixed statistics"

CAFFE2 = Table(
    name="caffe2",
    trunk=(
        ("conv1.{w}", "conv1_{w}"),
        ("bn1.{n}", "res_conv1_bn_{n}"),
        ("res{s}.{b}.conv{c}.{w}", "res{s}_{b}_branch2{c}_{w}"),
        ("res{s}.{b}.bn{c}.{n}", "res{s}_{b}_branch2{c}_bn_{n}"),
        ("res{s}.{b}.downsample.0.{w}", "res{s}_{b}_branch1_{w}"),
        ("res{s}.{b}.downsample.1.{n}", "res{s}_{b}_branch1_bn_{n}"),
        ("fc.{w}", "pred_{w}"),
    ),
    place=("res{s}.{b}.nonlocal_block.", "nonlocal_conv{s}_{b}_"),
    block=(
        ("theta.{w}", "theta_{w}"),
        ("phi.{w}", "phi_{w}"),
        ("g.{w}", "g_{w}"),
        ("w_z.{w}", "out_{w}"),
        ("norm.{n}", "bn_{n}"),
    ),
    words={
        "c": {"1": "a", "2": "b", "3": "c"},
        "w": {"weight": "w", "bias": "b"},
        "n": {"weight": "s", "bias": "b", "running_mean": "rm", "running_var": "riv"},
    },
    ignored=(r".*_momentum", "lr", "model_iter"),
    fills=(
        # 1 - eps, so that a batch norm divides by exactly 1.
        Fill(
            name="running_var",
            value=1 - 1e-5,
            beside="weight",
            unless=("running_mean", "running_var"),
            why=_AFFINE,
        ),
        Fill(
            name="running_mean",
            value=0.0,
            beside="weight",
            unless=("running_mean", "running_var"),
            why=_AFFINE,
        ),
    ),
    preset="official",
    presets=(
        ("NOPOOL", "slowfast_nopool"),
        # PySlowFast also publishes pickles with these names, of networks in its own layout.
        (r"\b(I3D|C2D)_(NLN_)?\d+x\d+_R(50|101)\b", "slowfast"),
        (r"8x8|32x4|k400_pretrained", "official_8x8"),
    ),
    clip=RELEASED_CLIP,
)
