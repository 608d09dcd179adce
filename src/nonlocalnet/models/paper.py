"""The paper's own figures about its networks, and what ours come to.

Source   Table 1, Table 2e, Sec. 3.3 and Sec. 5.1 ("Going deeper").
The text of the paper and its released code differ, and neither says where a stage's stride sits,
so every figure is counted under both presets with both places. No one of the four gives them all.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

from nonlocalnet.models.costs import Costs, count_named, multiply_adds
from nonlocalnet.nn.block import NonLocalBlock

SETTINGS = tuple((preset, at) for preset in ("paper", "official") for at in ("3x3", "1x1"))
"""Preset, and the convolution that carries a stage's stride."""

TABLE_1 = {
    "conv1": (16, 112, 112, 64),
    "pool1": (8, 56, 56, 64),
    "res2": (8, 56, 56, 256),
    "pool2": (4, 56, 56, 256),
    "res3": (4, 28, 28, 512),
    "res4": (4, 14, 14, 1024),
    "res5": (4, 7, 7, 2048),
}
"""T, H, W, C of the output, of 32 frames of 224 x 224 px."""

WHY_TABLE_1 = (
    "The released code does not pad pool1, so pool1 and res2 have 55x55 cells; res3 is 28x28 again."
)

NETWORKS = ("c2d_r101", "i3d333_r101", "i3d_r101", "nl5_c2d_r101", "nl5_c2d_r50")

_STRIDE = (
    "34.2 G takes two things that the paper does not mention: the stride on the first 1x1, and "
    "res2 at 55x55, as in the released code."
)
_INFLATION = (
    "Sec. 4 inflates one kernel for every 2 residual blocks; preset paper takes blocks 0, 2, ... "
    "of each stage. The released code (3x1x1 only) takes all of res2, blocks 0, 2, ... of res3 and "
    "res4, and the middle one of res5: the same pattern for 3x3x3 gives 1.5 and 1.8."
)
_FIRST = (
    "With the stride on the first 1x1, that kernel runs on a quarter of the cells in the first "
    "block of res3 and of res4, and inflating it costs less. So 34.2 G and 1.5x exclude each other."
)
_PAIRS = (
    "One of two counts gives the paper's figure: without the N x M products where keys are pooled "
    "after phi and g (preset paper), with them where x is pooled first (preset official)."
)


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A figure of the paper, and how to work it out."""

    what: str
    paper: float
    """As printed."""
    digits: int
    """Decimals of it."""
    ours: Callable[[Mapping[str, Costs]], float]
    """From the costs of NETWORKS."""
    why: str = ""
    """Why a setting gives another figure; empty if all of them give it."""

    def holds(self, ours: float) -> bool:
        """Whether ours rounds to the paper's."""
        return round(ours, self.digits) == self.paper


def _weights(name: str) -> Callable[[Mapping[str, Costs]], float]:
    return lambda costs: costs[name].weights / costs["c2d_r101"].weights


def _work(name: str, pairs: bool = True) -> Callable[[Mapping[str, Costs]], float]:
    def ratio(costs: Mapping[str, Costs]) -> float:
        done = costs[name].multiply_adds - (0 if pairs else costs[name].pairwise)
        return done / costs["c2d_r101"].multiply_adds

    return ratio


CLAIMS = (
    Claim(
        what="C2D-R101 parameters, M",
        paper=43.2,
        digits=1,
        ours=lambda costs: costs["c2d_r101"].weights / 1e6,
    ),
    Claim(
        what="C2D-R101 multiply-adds, G",
        paper=34.2,
        digits=1,
        ours=lambda costs: costs["c2d_r101"].multiply_adds / 1e9,
        why=_STRIDE,
    ),
    Claim(
        what="I3D 3x3x3 / C2D, parameters",
        paper=1.5,
        digits=1,
        ours=_weights("i3d333_r101"),
        why=_INFLATION,
    ),
    Claim(
        what="I3D 3x3x3 / C2D, mult-adds",
        paper=1.8,
        digits=1,
        ours=_work("i3d333_r101"),
        why=_INFLATION,
    ),
    Claim(what="I3D 3x1x1 / C2D, parameters", paper=1.2, digits=1, ours=_weights("i3d_r101")),
    Claim(
        what="I3D 3x1x1 / C2D, mult-adds",
        paper=1.5,
        digits=1,
        ours=_work("i3d_r101"),
        why=_FIRST,
    ),
    Claim(what="NL5 C2D / C2D, parameters", paper=1.2, digits=1, ours=_weights("nl5_c2d_r101")),
    Claim(
        what="NL5 C2D / C2D, mult-adds",
        paper=1.2,
        digits=1,
        ours=_work("nl5_c2d_r101"),
        why=_PAIRS,
    ),
    Claim(
        what="  the same without N x M",
        paper=1.2,
        digits=1,
        ours=_work("nl5_c2d_r101", pairs=False),
        why=_PAIRS,
    ),
    Claim(what="NL5-R50 / R101, parameters", paper=0.7, digits=1, ours=_weights("nl5_c2d_r50")),
    Claim(
        what="NL5-R50 / R101, mult-adds",
        paper=0.8,
        digits=1,
        ours=_work("nl5_c2d_r50"),
        why=_PAIRS,
    ),
    Claim(
        what="  the same without N x M",
        paper=0.8,
        digits=1,
        ours=_work("nl5_c2d_r50", pairs=False),
        why=_PAIRS,
    ),
    Claim(
        what="block: bottleneck / none",
        paper=0.5,
        digits=1,
        ours=lambda _: _block(inner_channels=512)[0] / _block(inner_channels=1024)[0],
    ),
    Claim(
        what="N x M: pooled / all keys",
        paper=0.25,
        digits=2,
        ours=lambda _: _block(subsample=2)[1] / _block(subsample=1)[1],
    ),
)


@dataclass(frozen=True, kw_only=True)
class Checked:
    """One of SETTINGS, counted."""

    preset: str
    stride_at: str
    sizes: dict[str, tuple[int, int, int, int]]
    """As TABLE_1, of our C2D-R101."""
    figures: list[float]
    """One per claim."""


def check(progress: Callable[[int, int], None] = lambda done, of: None) -> list[Checked]:
    """What Table 1 and every claim come to under each of SETTINGS.

    Args:
        progress: Called with the settings done, and their number.
    """
    checked = []
    for preset, stride_at in SETTINGS:
        progress(len(checked), len(SETTINGS))
        options = {"preset": preset, "stride_in_1x1": stride_at == "1x1"}
        costs = {name: count_named(name, **options) for name in NETWORKS}
        checked.append(
            Checked(
                preset=preset,
                stride_at=stride_at,
                sizes=costs["c2d_r101"].sizes,
                figures=[claim.ours(costs) for claim in CLAIMS],
            )
        )
    return checked


def _block(subsample: int = 1, inner_channels: int = 512) -> tuple[int, int]:
    """Multiply-adds of a block of Figure 2 on 4 x 14 x 14 cells of 1024 channels."""
    with torch.device("meta"):
        block = NonLocalBlock(1024, inner_channels=inner_channels, subsample=subsample)
    return multiply_adds(block, (1024, 4, 14, 14))
