"""pytorchvideo: state dicts under `model_state`. Its block stands in none of its networks.

`blocks.2` is the pool after res2, without tensors.
"""

from nonlocalnet.weights.table import RELEASED_CLIP, Table

_BRANCH = "blocks.{s}.res_blocks.{b}.branch2"

PYTORCHVIDEO = Table(
    name="pytorchvideo",
    trunk=(
        ("conv1.{w}", "blocks.0.conv.{w}"),
        ("bn1.{n}", "blocks.0.norm.{n}"),
        ("res{s}.{b}.conv{c}.{w}", _BRANCH + ".conv_{c}.{w}"),
        ("res{s}.{b}.bn{c}.{n}", _BRANCH + ".norm_{c}.{n}"),
        ("res{s}.{b}.downsample.0.{w}", "blocks.{s}.res_blocks.{b}.branch1_conv.{w}"),
        ("res{s}.{b}.downsample.1.{n}", "blocks.{s}.res_blocks.{b}.branch1_norm.{n}"),
        ("fc.{w}", "blocks.6.proj.{w}"),
    ),
    block=(
        ("theta.{w}", "conv_theta.{w}"),
        ("phi.{w}", "conv_phi.{w}"),
        ("g.{w}", "conv_g.{w}"),
        ("w_z.{w}", "conv_out.{w}"),
        ("norm.{n}", "norm.{n}"),
    ),
    words={
        "s": {"2": "1", "3": "3", "4": "4", "5": "5"},
        "c": {"1": "a", "2": "b", "3": "c"},
    },
    preset="pytorchvideo",
    clip=RELEASED_CLIP,
)
