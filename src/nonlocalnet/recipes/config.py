"""Settings of a run as frozen dataclasses. Imports nothing heavy: `--help` reads this file."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class SmallRecipe:
    """Settings of `nonlocalnet train DIR`; 0 means: chosen from the data."""

    model: str = "nl1_i3d_tiny"
    """Network, one of nonlocalnet.list_models()."""
    epochs: int = 0
    """Passes over the training videos; 0: as many as make 800 steps, but from 30 to 200."""
    batch: int = 16
    """Clips per step."""
    lr: float = 0.05
    """Learning rate at its highest."""
    frames: int = 16
    """Frames of a clip."""
    stride: int = 0
    """Source frames per kept frame; 0: a clip spans about one median video, 8 at most."""
    crop: int = 64
    """px, training crop; the shorter side is jittered up to 1.25 times of it."""
    flip: bool | None = None
    """Mirror half of the clips; null: unless class names speak of left, right or clockwise."""
    seed: int = 0
    """Of the split, the weights, and every random choice in training."""
