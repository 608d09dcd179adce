"""Named networks: `build("nl5_c2d_r50")` and the numbers behind each name.

Source   Sec. 4, Tables 1 and 2 of the paper; the other presets follow released code.
A name is [nl1_ | nl5_ | nl10_] {c2d | i3d | i3d333} _ {r50 | r101 | tiny}. A preset says what the
paper's text and the released code do differently; every number of it is one row below.
"""

import difflib
import inspect
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Integral
from typing import Any

from nonlocalnet.models.resnet import Size3, VideoResNet
from nonlocalnet.nn.block import NonLocalBlock, check_option_names


@dataclass(frozen=True, kw_only=True)
class Backbone:
    """A depth of ResNet and where its 1, 5 and 10 non-local blocks stand."""

    depths: tuple[int, ...]
    width: int = 64
    temporal_strides: bool = True
    dropout: float = 0.5
    head_window: int = 7
    places: Mapping[int, Mapping[str, tuple[int, ...]]]


BACKBONES = {
    "r50": Backbone(
        depths=(3, 4, 6, 3),
        places={
            1: {"res4": (4,)},
            5: {"res3": (1, 3), "res4": (1, 3, 5)},
            10: {"res3": (0, 1, 2, 3), "res4": (0, 1, 2, 3, 4, 5)},
        },
    ),
    "r101": Backbone(
        depths=(3, 4, 23, 3),
        places={
            1: {"res4": (21,)},
            5: {"res3": (1, 3), "res4": (6, 13, 20)},
            10: {"res3": (0, 1, 2, 3), "res4": (2, 6, 10, 14, 18, 22)},
        },
    ),
    # Small clips on a CPU: nothing but the last average (and a block) joins the frames of a C2D.
    "tiny": Backbone(
        depths=(1, 2, 2, 1),
        width=16,
        temporal_strides=False,
        head_window=2,  # 64 px crops
        places={1: {"res3": (0,)}},
    ),
}


@dataclass(frozen=True, kw_only=True)
class Preset:
    """What the paper's text and other code do differently around the same network."""

    stem_stride_t: int = 2
    pool1: tuple[Size3, Size3, Size3]  # kernel, stride, padding
    pool2: tuple[Size3, Size3, Size3] | None = ((2, 1, 1), (2, 1, 1), (0, 0, 0))
    inflate_res2_and_res5: tuple[tuple[int, ...], tuple[int, ...]] = ((0, 1, 2), (1,))  # blocks
    block: Mapping[str, Any]  # options of NonLocalBlock
    block_std: float | None = None  # Gaussian init of the block's convolutions; None keeps MSRA
    groups_without_norm: Mapping[str, int] = field(default_factory=dict)  # stage -> group_frames


PRESETS = {
    "paper": Preset(
        pool1=((3, 3, 3), (2, 2, 2), (1, 1, 1)),
        pool2=((3, 1, 1), (2, 1, 1), (1, 0, 0)),
        inflate_res2_and_res5=((0, 2), (0, 2)),
        block={"scale": 1.0, "subsample_input": False},
    ),
    # The released code: its 32x2 and 128x1 networks, and the faster 8x8 and 32x4 ones. Those for
    # long clips (128x1, 32x4) have blocks without batch norm, in res3 within groups of 4 frames.
    "official": Preset(
        pool1=((2, 3, 3), (2, 2, 2), (0, 0, 0)),
        block={"scale": None, "subsample_input": True},
        block_std=0.01,
        groups_without_norm={"res3": 4},
    ),
    "official_8x8": Preset(
        stem_stride_t=1,
        pool1=((1, 3, 3), (1, 2, 2), (0, 0, 0)),
        block={"scale": None, "subsample_input": True},
        block_std=0.01,
        groups_without_norm={"res3": 4},
    ),
    "slowfast": Preset(
        stem_stride_t=1,
        pool1=((1, 3, 3), (1, 2, 2), (0, 1, 1)),
        block={"scale": None, "subsample_input": True},
    ),
    # The C2D that PySlowFast and mmaction2 call "nopool": frames meet in the last average only.
    "slowfast_nopool": Preset(
        stem_stride_t=1,
        pool1=((1, 3, 3), (1, 2, 2), (0, 1, 1)),
        pool2=None,
        block={"scale": None, "subsample_input": True},
    ),
    # pool1 of the next drops every other frame; theta.phi is unscaled in its I3D configurations.
    "mmaction2": Preset(
        pool1=((1, 3, 3), (2, 2, 2), (0, 1, 1)),
        block={"scale": 1.0, "subsample_input": False},
        block_std=0.01,
    ),
    # Has the block, but in no network of its own; its default does not pool.
    "pytorchvideo": Preset(
        stem_stride_t=1,
        pool1=((1, 3, 3), (1, 2, 2), (0, 1, 1)),
        block={"scale": None, "subsample": 1},
    ),
    "gluoncv": Preset(
        pool1=((1, 3, 3), (2, 2, 2), (0, 1, 1)),
        block={"scale": None, "subsample": 1},
    ),
}

_NAME = re.compile(r"(?:nl(?P<blocks>1|5|10)_)?(?P<family>c2d|i3d|i3d333)_(?P<backbone>\w+)")


def list_models() -> list[str]:
    """Every name that `build` takes.

    Example:
        >>> [name for name in list_models() if name.endswith("c2d_r50")]
        ['c2d_r50', 'nl1_c2d_r50', 'nl5_c2d_r50', 'nl10_c2d_r50']
    """
    return [
        f"{f'nl{blocks}_' if blocks else ''}{family}_{name}"
        for name, backbone in BACKBONES.items()
        for family in ("c2d", "i3d", "i3d333")
        for blocks in (0, *backbone.places)
    ]


def build(
    name: str,
    num_classes: int = 400,
    preset: str = "paper",
    *,
    nonlocal_: Mapping[str, Sequence[int]] | None = None,
    depths: Sequence[int] | None = None,
    inflate_all: bool = False,
    width: int | None = None,
    stem_width: int | None = None,
    head_window: int | None = None,
    dropout: float | None = None,
    stride_in_1x1: bool = False,
    checkpointing: bool = False,
    pool1_ceil: bool = False,
    **block_options: Any,
) -> VideoResNet:
    """A network of Sec. 4 by name, with random weights.

    Args:
        name: One of `list_models()`.
        num_classes: Outputs of the classifier.
        preset: A key of `PRESETS`: "paper" is its text, the others the layout that the weights of
            "official" (released 32x2 and, with norm=None, 128x1), "official_8x8" (and 32x4),
            "slowfast", "slowfast_nopool", "mmaction2", "pytorchvideo" and "gluoncv" were trained
            in.
        nonlocal_: Stage -> residual blocks followed by a non-local block, instead of the name's.
        depths: Residual blocks of each stage, instead of the backbone's: deeper without a block.
        inflate_all: Let an I3D inflate every residual block, not every other one ("inflating more
            layers shows diminishing return", Sec. 4).
        width: Channels of conv1, instead of the backbone's; every stage scales with it.
        stem_width: Channels of conv1, where it does not scale with the stages.
        head_window: Cells of the last map under one training crop, in H and W.
        dropout: Rate before the classifier.
        stride_in_1x1: Put each stage's stride on its first 1x1.
        checkpointing: Run each residual block again in the backward pass instead of keeping what
            is inside it: less memory, more time, the same gradients. Not part of a saved model.
        pool1_ceil: Let pool1 keep a last, partial window, as ResNets from Caffe do.
        **block_options: Passed to every `NonLocalBlock`: kind, extent, scale, subsample, norm, ...

    Raises:
        ValueError: The name, the preset or an option is unknown, a number is none, a place does not
            exist, or blocks are asked for and none is placed.

    Example:
        >>> net = build("nl1_c2d_tiny", num_classes=4, kind="dot_product")
        >>> net.res3[0].nonlocal_block.kind
        'dot_product'
    """
    parsed = _NAME.fullmatch(name)
    if parsed is None or name not in list_models():
        near = difflib.get_close_matches(name, list_models(), 3)
        raise ValueError(
            f"no model {name!r}; nearest: {', '.join(near) or 'none'} "
            "(nonlocalnet.list_models() lists all)"
        )
    if preset not in PRESETS:
        raise ValueError(f"no preset {preset!r}; choose one of {', '.join(PRESETS)}")
    backbone, rules = BACKBONES[parsed["backbone"]], PRESETS[preset]
    for option, sizes in {
        "num_classes": (num_classes,),
        "depths": depths or (),
        "width": (width or 1,),
        "stem_width": (stem_width or 1,),
        "head_window": (head_window or 1,),
    }.items():
        if not all(isinstance(size, Integral) and int(size) > 0 for size in sizes):
            raise ValueError(f"{option} takes whole numbers of 1 or more, got {sizes}")
    check_option_names(block_options, inspect.signature(build).parameters)
    if nonlocal_ is None:
        nonlocal_ = backbone.places.get(int(parsed["blocks"] or 0), {})
    elif (parsed["blocks"] or nonlocal_) and not any(nonlocal_.values()):
        raise ValueError(
            f"{name} asks for non-local blocks, but nonlocal_={nonlocal_} places none; name "
            "residual blocks, as res4: [4]"
        )
    if block_options and not any(nonlocal_.values()):
        raise ValueError(
            f"{', '.join(block_options)} belong to non-local blocks, but {name} has none; "
            "take an nl1_, nl5_ or nl10_ name, or say where with nonlocal_"
        )

    def make_nonlocal(stage: str, channels: int) -> NonLocalBlock:
        options = {**rules.block, **block_options}
        if options.get("norm", "batch") is None and options.get("extent") in (None, "spacetime"):
            options.setdefault("group_frames", rules.groups_without_norm.get(stage))
        block = NonLocalBlock(channels, **options)
        if rules.block_std is not None:
            block.reset_parameters(rules.block_std)
        return block

    model = VideoResNet(
        num_classes=num_classes,
        depths=depths or backbone.depths,
        width=width or backbone.width,
        stem_width=stem_width,
        stem_kernel_t=1 if parsed["family"] == "c2d" else 5,
        stem_stride_t=rules.stem_stride_t if backbone.temporal_strides else 1,
        pool1=rules.pool1 if backbone.temporal_strides else ((1, 3, 3), (1, 2, 2), (0, 1, 1)),
        pool2=rules.pool2 if backbone.temporal_strides else None,
        pool1_ceil=pool1_ceil,
        kernel_t=_inflation(parsed["family"], rules, inflate_all),
        stride_in_1x1=stride_in_1x1,
        nonlocal_at=nonlocal_,
        make_nonlocal=make_nonlocal,
        dropout=backbone.dropout if dropout is None else dropout,
        head_window=head_window or backbone.head_window,
        checkpointing=checkpointing,
    )
    model.config = {
        "name": name,
        "num_classes": num_classes,
        "preset": preset,
        "nonlocal_": {stage: list(blocks) for stage, blocks in nonlocal_.items()},
        "depths": list(depths or backbone.depths),
        "inflate_all": inflate_all,
        "width": width or backbone.width,
        "stem_width": stem_width,
        "head_window": model.head_window,
        "dropout": model.dropout.p,
        "stride_in_1x1": stride_in_1x1,
        "pool1_ceil": pool1_ceil,
        **block_options,
    }
    return model


def _inflation(family: str, rules: Preset, every: bool = False):
    """(stage, block) -> temporal kernels of the first 1x1 and of the 3x3 (Sec. 4)."""
    inflated = {"c2d": (1, 1), "i3d": (3, 1), "i3d333": (1, 3)}[family]
    res2, res5 = rules.inflate_res2_and_res5

    def kernel_t(stage: int, block: int) -> tuple[int, int]:
        chosen = {0: block in res2, 3: block in res5}.get(stage, block % 2 == 0)
        return inflated if chosen or every else (1, 1)

    return kernel_t
