"""Our own names, for state dicts that were saved without the rest of a model file."""

from nonlocalnet.weights.table import RELEASED_CLIP, Table

_TRUNK = (
    "conv1.{w}",
    "bn1.{n}",
    "res{s}.{b}.conv{c}.{w}",
    "res{s}.{b}.bn{c}.{n}",
    "res{s}.{b}.downsample.0.{w}",
    "res{s}.{b}.downsample.1.{n}",
    "fc.{w}",
)
_BLOCK = ("theta.{w}", "phi.{w}", "g.{w}", "w_f", "w_z.{w}", "norm.{n}")
_PLACE = "res{s}.{b}.nonlocal_block."

OWN = Table(
    name="nonlocalnet",
    trunk=tuple((name, name) for name in _TRUNK),
    place=(_PLACE, _PLACE),
    block=tuple((name, name) for name in _BLOCK),
    clip=RELEASED_CLIP,
)
