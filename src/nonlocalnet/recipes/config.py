"""Settings of a run as frozen dataclasses. Imports nothing heavy: `--help` reads this file."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class SmallRecipe:
    """Settings of `nonlocalnet train DIR`; 0 means: chosen from the data."""

    model: str = "nl1_i3d_tiny"
    """Network, one of nonlocalnet.list_models()."""
    epochs: int = 0
    """Passes over the training videos; 0: as many as make 800 steps, but from 32 to 200."""
    batch: int = 16
    """Clips per step."""
    optimizer: Literal["sgd", "adamw"] = "adamw"
    """adamw learns faster from little data; sgd is the paper's."""
    lr: float = 0.003
    """Learning rate at its highest."""
    weight_decay: float = 0.05
    """Of all weights but batch norm's and biases."""
    frames: int = 16
    """Frames of a clip."""
    stride: int = 0
    """Source frames per kept frame; 0: a clip spans about 3/4 of the median video, 8 at most."""
    seconds: float | None = None
    """Length of a clip, with fps: sampling by time stamps, for videos of different frame rates."""
    fps: float | None = None
    """Frames per second that the network sees, with seconds; instead of frames and stride."""
    short: Literal["loop", "clamp"] = "loop"
    """Videos shorter than a clip start again, or repeat their last frame."""
    scale: float | None = None
    """Of the non-local blocks' exponent; null: inner_channels ** -0.5, which starts unsaturated, as
    the released code; the paper's text is 1."""
    width: int = 0
    """Channels of conv1, every stage scales with them; 0: the network's own."""
    crop: int = 64
    """px, training crop, and the shorter side in tests."""
    jitter: float = 1.2
    """The shorter side in training is drawn from the crop to this many times the crop."""
    flip: bool | None = None
    """Mirror half of the clips; null: unless class names speak of left, right or clockwise."""
    max_bad: float = 0.01
    """Share of the training videos that may turn out unreadable; others take their places."""
    seed: int = 0
    """Of the split, the weights, and every random choice in training."""
