"""Tables 5 and 6 as recipes: detectors, schedules, and the paper's figures.

Source   Sec. 6 states joint end-to-end training and no schedule. It is Detectron's here (configs
12_2017_baselines): "1x" for R50 and R101, 1.44x with jittered scales for X-152-32x8d-IN5k, 1x with
jittered scales for keypoints (s1x: steps 130000, decay_at 100000 and 120000).
"""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from nonlocalnet.recipes.tables import Row, Table

Stages = dict[str, tuple[int, ...]]
SCALES = (640, 672, 704, 736, 768, 800)
ONE_R50: Stages = {"res4": (4,)}
ONE_R101: Stages = {"res4": (21,)}
ONE_X152: Stages = {"res4": (34,)}


@dataclass(frozen=True, kw_only=True)
class DetectorConfig:
    """The detector, as `models.detection.build_detector` takes it."""

    task: Literal["masks", "keypoints"] = "masks"
    """Boxes with masks (Table 5), or boxes with keypoints (Table 6)."""
    trunk: Literal["r50", "r101", "x152", "tiny"] = "r50"
    """ResNet-50, ResNet-101, ResNeXt-152 (32x8d), or a small one for CPUs."""
    num_classes: int = 91
    """Largest category id of the data + 1; COCO has 91, its people 2."""
    num_keypoints: int = 17
    """Of an object, for task keypoints."""
    nonlocal_: Stages = field(default_factory=dict)
    """Residual blocks of the trunk with a non-local block after them, by stage."""
    head_nonlocal: bool = False
    """Four blocks in the keypoint head, after every 2 of its convolutions."""
    block: dict[str, Any] = field(default_factory=dict)
    """Options of the blocks, as of nonlocalnet.NonLocalBlock."""
    imagenet: Literal["detectron", "torchvision"] = "detectron"
    """Whose ImageNet weights it begins with: its pixels and the place of its strides."""
    min_size: tuple[int, ...] = (800,)
    """px of the shorter side; training draws one of them, tests take the last."""
    max_size: int = 1333
    """px of the longest side."""
    more: dict[str, Any] = field(default_factory=dict)
    """More arguments of torchvision's detectors, such as box_score_thresh."""

    def build(self) -> Any:
        """The detector with fresh weights.

        Raises:
            ValueError: See `build_detector`.
        """
        from nonlocalnet.models.detection import build_detector
        from nonlocalnet.weights.detectron import PIXELS

        return build_detector(
            self.task,
            self.trunk,
            self.num_classes,
            nonlocal_=self.nonlocal_,
            head_nonlocal=self.head_nonlocal,
            block=self.block,
            num_keypoints=self.num_keypoints,
            stride_in_1x1=self.imagenet == "detectron" and self.trunk in ("r50", "r101"),
            min_size=self.min_size,
            max_size=self.max_size,
            **PIXELS[self.imagenet],
            **self.more,
        )


@dataclass(frozen=True, kw_only=True)
class DetectionPlan:
    """Optimiser and schedule; the defaults are Detectron's 1x."""

    steps: int = 90_000
    """Optimiser steps."""
    batch: int = 16
    """Images per step over all processes, which `lr` belongs to."""
    lr: float = 0.02
    """Learning rate at its highest; a run with other batches scales it by their size."""
    schedule: Literal["steps", "cosine"] = "steps"
    """Divide by 10 at each of `decay_at`, or half a cosine down to 0."""
    decay_at: tuple[int, ...] = (60_000, 80_000)
    """Steps at which the learning rate is divided by 10."""
    warmup: int = 500
    """Steps of linear warm-up."""
    optimizer: Literal["sgd", "adamw"] = "sgd"
    """sgd with momentum 0.9, or adamw."""
    weight_decay: float = 1e-4
    """Of all weights but biases and norms."""
    clip_norm: float | None = None
    """Largest norm of the gradient; null: no limit."""
    flip: bool = True
    """Mirror half of the images."""
    validate_every: int = 10_000
    """Steps between validations."""
    checkpoint_every: int = 1000
    """Steps between checkpoints."""
    seed: int = 0
    """Of the weights and every random choice in training."""


@dataclass(frozen=True, kw_only=True)
class DetectionRecipe:
    """One run of Sec. 6."""

    name: str
    model: DetectorConfig = field(default_factory=DetectorConfig)
    train: DetectionPlan = field(default_factory=DetectionPlan)
    published: Mapping[str, float] = field(default_factory=dict)
    """The paper's figures in percent."""
    source: str = ""
    """Table and row."""


X152_PLAN = DetectionPlan(steps=260_000, batch=8, lr=0.01, decay_at=(200_000, 240_000))


def _masks(name: str, source: str, trunk: Any, places: Stages, *figures: float) -> DetectionRecipe:
    jitter = SCALES if trunk == "x152" else (800,)
    return DetectionRecipe(
        name=name,
        model=DetectorConfig(trunk=trunk, nonlocal_=places, min_size=jitter),
        train=X152_PLAN if trunk == "x152" else DetectionPlan(),
        published=dict(zip(MASK_COLUMNS, figures, strict=True)),
        source=f"Table 5, {source}",
    )


def _keypoints(
    name: str, source: str, places: Stages, head: bool, *figures: float, trunk: Any = "r101"
) -> DetectionRecipe:
    return DetectionRecipe(
        name=name,
        model=DetectorConfig(
            task="keypoints",
            trunk=trunk,
            num_classes=2,
            nonlocal_=places,
            head_nonlocal=head,
            min_size=SCALES,
        ),
        published=dict(zip(KEYPOINT_COLUMNS, figures, strict=False)),
        source=f"Table 6, {source}" if figures else source,
    )


MASK_COLUMNS = ("box_AP", "box_AP50", "box_AP75", "mask_AP", "mask_AP50", "mask_AP75")
KEYPOINT_COLUMNS = ("kp_AP", "kp_AP50", "kp_AP75")

_MASK_ROWS = (
    ("mask_rcnn_r50", "R50 baseline", "r50", {}, 38.0, 59.6, 41.0, 34.6, 56.4, 36.5),
    ("nl1_mask_rcnn_r50", "R50 +1 NL", "r50", ONE_R50, 39.0, 61.1, 41.9, 35.5, 58.0, 37.4),
    ("mask_rcnn_r101", "R101 baseline", "r101", {}, 39.5, 61.4, 42.9, 36.0, 58.1, 38.3),
    ("nl1_mask_rcnn_r101", "R101 +1 NL", "r101", ONE_R101, 40.8, 63.1, 44.5, 37.1, 59.9, 39.2),
    ("mask_rcnn_x152", "X152 baseline", "x152", {}, 44.1, 66.4, 48.4, 39.7, 63.2, 42.2),
    ("nl1_mask_rcnn_x152", "X152 +1 NL", "x152", ONE_X152, 45.0, 67.8, 48.9, 40.3, 64.4, 42.8),
)
_KEYPOINT_ROWS = (
    ("keypoint_rcnn_r101", "R101 baseline", {}, False, 65.1, 86.8, 70.4),
    ("nl4_keypoint_rcnn_r101", "NL, +4 in head", {}, True, 66.0, 87.1, 71.7),
    (
        "nl5_keypoint_rcnn_r101",
        "NL, +4 in head, +1 in backbone",
        ONE_R101,
        True,
        66.5,
        87.3,
        72.8,
    ),
)
_TABLE5 = tuple(_masks(*row) for row in _MASK_ROWS)
_TABLE6 = tuple(_keypoints(*row) for row in _KEYPOINT_ROWS)

# "We also have tried to use more non-local blocks to the backbone, but found diminishing return."
_FURTHER = (
    replace(
        _TABLE5[1],
        name="nl4_mask_rcnn_r50",
        model=replace(_TABLE5[1].model, nonlocal_={"res3": (1, 3), "res4": (2, 4)}),
        published={},
        source="Sec. 6, more blocks in the backbone: diminishing return, no figure",
    ),
    _keypoints("keypoint_rcnn_r50", "not in the paper: Table 6 with R50", {}, False, trunk="r50"),
    _keypoints("nl4_keypoint_rcnn_r50", "not in the paper: R50", {}, True, trunk="r50"),
    _keypoints("nl5_keypoint_rcnn_r50", "not in the paper: R50", ONE_R50, True, trunk="r50"),
)

_TINY_PLAN = DetectionPlan(
    steps=2000,
    batch=4,
    lr=2e-3,
    schedule="cosine",
    warmup=50,
    optimizer="adamw",
    weight_decay=0.05,
    clip_norm=5.0,
    validate_every=1000,
    checkpoint_every=100,
)
_TINY = DetectionRecipe(
    name="tiny_mask_rcnn",
    model=DetectorConfig(
        trunk="tiny", num_classes=6, imagenet="torchvision", min_size=(128,), max_size=256
    ),
    train=_TINY_PLAN,
    source="ours, for the generated set (data.coco_shapes) on a CPU",
)
_TINY_POINTS = replace(
    _TINY,
    name="tiny_keypoint_rcnn",
    model=replace(_TINY.model, task="keypoints", num_classes=2, num_keypoints=5),
)
_TINY_BLOCKS: dict[str, Any] = {"nonlocal_": {"res4": (0,)}, "block": {"inner_channels": 128}}
_SMALL = (
    _TINY,
    replace(_TINY, name="nl1_tiny_mask_rcnn", model=replace(_TINY.model, **_TINY_BLOCKS)),
    _TINY_POINTS,
    replace(
        _TINY_POINTS,
        name="nl5_tiny_keypoint_rcnn",
        model=replace(_TINY_POINTS.model, head_nonlocal=True, **_TINY_BLOCKS),
    ),
)


def _rows(recipes: tuple[DetectionRecipe, ...]) -> tuple[Row, ...]:
    return tuple(
        Row(words=r.source.split(", ", 1)[1], recipe=r, published=r.published)  # type: ignore[arg-type]
        for r in recipes
    )


DETECTION_TABLES: Mapping[str, Table] = {
    "5": Table(
        title="COCO boxes and masks: 1 block in Mask R-CNN",
        rows=_rows(_TABLE5),
        columns=MASK_COLUMNS,
    ),
    "6": Table(
        title="COCO keypoints: blocks in Keypoint R-CNN",
        rows=_rows(_TABLE6),
        columns=KEYPOINT_COLUMNS,
    ),
}
RECIPES = {recipe.name: recipe for recipe in (*_TABLE5, *_TABLE6, *_FURTHER, *_SMALL)}


def detection_recipe(name: str) -> DetectionRecipe:
    """One of `RECIPES`.

    Raises:
        ValueError: There is none of this name.

    Example:
        >>> detection_recipe("nl1_mask_rcnn_r101").published["box_AP"]
        40.8
    """
    if name not in RECIPES:
        near = difflib.get_close_matches(name, RECIPES, 3)
        raise ValueError(
            f"no detection recipe {name!r}; nearest: {', '.join(near) or 'none'} "
            "(nonlocalnet detect train --help lists all)"
        )
    return RECIPES[name]
