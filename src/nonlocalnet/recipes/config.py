"""Settings of a run as frozen dataclasses. Imports nothing heavy: `--help` reads this file."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class SmallRecipe:
    """Settings of `nonlocalnet train DIR`; 0 means: chosen from the data."""

    model: str = ""
    """Network, one of nonlocalnet.list_models(); empty: nl1_i3d_tiny, or what fits --init."""
    init: str = ""
    """First weights: a model file or run folder, imagenet (with --model of r50 or r101; torchvision
    fetches them), or a file of an image network; empty: none."""
    epochs: int = 0
    """Passes over the training videos; 0: as many as make 800 steps, but from 32 to 100."""
    batch: int = 16
    """Clips per step."""
    optimizer: Literal["sgd", "adamw"] = "adamw"
    """adamw learns faster from little data; sgd is the paper's."""
    lr: float = 0
    """Learning rate at its highest; 0: 0.003, or 0.001 with --init."""
    weight_decay: float = 0.05
    """Of all weights but batch norm's and biases."""
    frames: int = 0
    """Frames of a clip; 0: 16, or those of the model file in --init."""
    stride: int = 0
    """Source frames per kept frame; 0: a clip spans about 3/4 of the median video, 8 at most."""
    seconds: float | None = None
    """Length of a clip, with fps: sampling by time stamps, for videos of different frame rates."""
    fps: float | None = None
    """Frames per second that the network sees, with seconds; instead of frames and stride."""
    ticks: int = 0
    """Sample every video as if it had so many frames, for actions that fill their video at a pace
    of their own; 0: no."""
    short: Literal["loop", "clamp"] = "loop"
    """Videos shorter than a clip start again, or repeat their last frame."""
    scale: float | None = None
    """Of the non-local blocks' exponent; null: inner_channels ** -0.5, which starts unsaturated, as
    the released code; the paper's text is 1."""
    width: int = 0
    """Channels of conv1, every stage scales with them; 0: the network's own."""
    crop: int = 0
    """px, training crop, and the shorter side in tests; 0: 64, or 112 with --init."""
    jitter: float = 1.2
    """The shorter side in training is drawn from the crop to this many times the crop."""
    warp: float = 0
    """Zoom, stretch, turn, shear and shift training clips at random, for sets of few people or
    cameras; 0.7 is a good first try, with more epochs; 0: no."""
    shade: float = 0
    """Brightness and contrast of training clips at random, as `warp`; 0: no."""
    label_smoothing: float = 0
    """Share of every label that is spread over all classes; 0.1 goes with `warp`."""
    flip: bool | None = None
    """Mirror half of the clips; null: unless class names speak of left, right or clockwise."""
    balanced: bool = False
    """Draw every class equally often, however many videos it has."""
    patience: int = 0
    """Stop after so many validations (4 in a run by default) without a better one; 0: never."""
    validations: int = 4
    """Times that the validation split is looked at; the best weights are kept."""
    checkpointing: bool = False
    """Store less and compute more: residual blocks are worked out again in the backward pass."""
    max_bad: float = 0.01
    """Share of the training videos that may turn out unreadable; others take their places."""
    seed: int = 0
    """Of the split, the weights, and every random choice in training."""


@dataclass(frozen=True, kw_only=True)
class Machine:
    """How a run uses its machine; the result is the same but for rounding."""

    accumulate: int = 1
    """Forward passes per step and process; each then has so many times fewer clips."""
    max_steps: int | None = None
    """Stop there, wherever the schedule stands; null: at its end."""
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true"
    """32-true, or autocast to half precision."""
    compile: bool = False
    """Run the network through torch.compile."""
    workers: int = 1
    """Processes that decode, for each that trains."""
