"""A training run fully said: network, clip, optimiser, first weights, test, and the paper's figure.

Source   Sec. 4.1 gives the defaults: what it says of "our models" unless a table says otherwise.
`nonlocalnet train DIR` works out such a recipe from the data; the rows of the paper's tables are
written down in `kinetics` and `charades`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from nonlocalnet.data.clips import ClipConfig
from nonlocalnet.models.resnet import VideoResNet
from nonlocalnet.models.zoo import build
from nonlocalnet.ops.pairwise import Kind


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """The network, as `nonlocalnet.build` takes it."""

    name: str = "c2d_r50"
    """One of nonlocalnet.list_models()."""
    num_classes: int = 400
    """Outputs; must be the number of classes of the data."""
    preset: str = "paper"
    """paper, official, or another row of `models.zoo`."""
    nonlocal_: dict[str, tuple[int, ...]] | None = None
    """Residual blocks with a non-local block after them, by stage; null: those of the name."""
    kind: Kind | None = None
    """Pairwise function of the non-local blocks; null: embedded_gaussian."""
    extent: Literal["spacetime", "space", "time"] | None = None
    """Where the keys of a query lie; null: spacetime."""
    scale: float | Literal["preset", "unit"] = "preset"
    """Of the exponent or the product; preset: as the preset says; unit: inner_channels ** -0.5."""
    dropout: float | None = None
    """Before the last layer; null: the network's own."""
    width: int | None = None
    """Channels of conv1, every stage scales with them; null: the network's own."""
    head_window: int | None = None
    """Cells of the last map that a score is taken from; null: the network's own."""
    checkpointing: bool = False
    """Work residual blocks out again in the backward pass, to store less."""
    more: dict[str, Any] = field(default_factory=dict)
    """Further arguments of nonlocalnet.build, such as stride_in_1x1, or subsample of the blocks."""

    def build(self) -> VideoResNet:
        """The network with fresh weights.

        Raises:
            ValueError: See `nonlocalnet.build`.
        """
        given: dict[str, Any] = {"kind": self.kind, "extent": self.extent}
        block: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
        if self.scale != "preset":
            block["scale"] = None if self.scale == "unit" else self.scale
        return build(
            self.name,
            self.num_classes,
            self.preset,
            nonlocal_=self.nonlocal_,
            width=self.width,
            head_window=self.head_window,
            dropout=self.dropout,
            checkpointing=self.checkpointing,
            **{**self.more, **block},
        )


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Optimiser, schedule and batch norm (Sec. 4.1)."""

    steps: int = 400_000
    """Optimiser steps."""
    batch: int = 64
    """Clips per step over all processes, which `lr` belongs to."""
    lr: float = 0.01
    """Learning rate at its highest; a run with other batches scales it by their size."""
    schedule: Literal["steps", "cosine"] = "steps"
    """Divide by 10 at each of `decay_at`, or half a cosine down to 0."""
    decay_at: tuple[int, ...] = (150_000, 300_000)
    """Steps at which the learning rate is divided by 10."""
    warmup: int = 0
    """Steps of linear warm-up."""
    optimizer: Literal["sgd", "adamw"] = "sgd"
    """sgd with Nesterov momentum 0.9, as the released code, or adamw."""
    weight_decay: float = 1e-4
    """Of all weights but batch norm's and biases."""
    bn: Literal["train", "frozen", "trunk", "affine", "sync"] = "train"
    """Batch norm: trained; fixed (Sec. 5.1, 128 frames); fixed but for the non-local blocks' own;
    fixed and folded, as released; over all processes (GPUs)."""
    precise_bn: int = 0
    """Training batches that measure batch norm anew before each validation; released code: 200."""
    clip_norm: float | None = None
    """Largest norm of the gradient; null: no limit."""
    label_smoothing: float = 0.0
    """Share of every label that is spread over all classes; of videos with one label each."""
    balanced: bool = False
    """Draw every class equally often."""
    patience: int = 0
    """Stop after so many validations without a better one (with keep: best); 0: never."""
    keep: Literal["last", "best"] = "last"
    """Which weights the model file gets; best needs a validation split that is not tested on."""
    validate_every: int = 20_000
    """Steps between validations."""
    validation: str = "1-clip-jitter"
    """Views of each video in validation; 1-clip-jitter is that of Figure 4."""
    checkpoint_every: int = 1000
    """Steps between checkpoints."""
    max_bad: float = 0.01
    """Share of the training videos that may turn out unreadable; others take their places."""
    seed: int = 0
    """Of the weights and every random choice in training."""


@dataclass(frozen=True, kw_only=True)
class TestConfig:
    """How the trained network is tested."""

    __test__ = False  # not a test case, whatever pytest thinks of the name

    views: str = "10x1"
    """10x1: ten clips of the whole frame (Sec. 4.1); 10x3: three squares, as released."""
    combine: Literal["mean", "max"] = "mean"
    """Of a video's views: the mean, or the largest score of each class."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One run, from its first weights to its figure."""

    name: str
    """Of the recipe, and of its run folder unless another is given."""
    model: ModelConfig = field(default_factory=ModelConfig)
    clip: ClipConfig = field(default_factory=ClipConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    test: TestConfig = field(default_factory=TestConfig)
    init: str = ""
    """First weights: empty (none), imagenet, the name of the recipe whose run comes before, or a
    run folder or file of weights."""
    multi_label: bool = False
    """Several labels per video: a sigmoid per class, mAP; must be so in the data."""
    published: Mapping[str, float] = field(default_factory=dict)
    """The paper's figures in percent: top1 and top5, or mAP."""
    source: str = ""
    """Table and row."""
