"""AlexHex7/Non-local_pytorch: a block by itself, pooled after the projections, without a scale.

Its equal here is `NonLocalBlock(channels, kind=..., scale=1.0)`, with `subsample=1` where the names
are `g.weight` and not `g.0.weight`.
"""

from nonlocalnet.weights.table import Table

ALEXHEX7 = Table(
    name="alexhex7",
    block=(
        ("theta.{w}", "theta.{w}"),
        ("phi.{w}", "phi.0.{w}"),
        ("phi.{w}", "phi.{w}"),
        ("g.{w}", "g.0.{w}"),
        ("g.{w}", "g.{w}"),
        ("w_f", "concat_project.0.weight"),
        ("w_z.{w}", "W.0.{w}"),
        ("w_z.{w}", "W.{w}"),
        ("norm.{n}", "W.1.{n}"),
    ),
)
