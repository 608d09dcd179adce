"""The paper's recipes at a CPU's scale: narrower networks, smaller clips, fewer steps, all alike.

`scaled` is the only thing that stands between a row of the paper and its small run. Depth, blocks,
places, kinds, test protocol and the ratios between recipes (frames, clips per step and learning
rate of Table 2g) stay as they are.
"""

from dataclasses import dataclass, replace
from pathlib import Path

from nonlocalnet.data.clips import ClipConfig
from nonlocalnet.recipes.recipe import Recipe, TrainConfig

FULL_CLIP, FULL_TRAIN, FULL_WIDTH = ClipConfig(), TrainConfig(), 64


@dataclass(frozen=True, kw_only=True)
class Scale:
    """What every recipe becomes on one kind of data; tuned once for the C2D baseline, then kept."""

    width: int
    """Channels of conv1 in a network whose full-size one has 64."""
    clip: ClipConfig
    """Of the recipes with 32 frames; those with 128 get four times its frames at half its stride,
    rounded down."""
    epochs: int
    """Passes over the training videos."""
    preset: str = "paper"
    """Of the network; `paper` has the temporal strides of Table 1."""
    batch: int = 16
    """Clips per step, in place of 64."""
    lr: float = 0.003
    """In place of 0.01, with AdamW and a cosine: hundreds of steps are too few for the paper's SGD.
    """
    weight_decay: float = 0.05
    """Of AdamW."""
    label_smoothing: float = 0.0
    """See `TrainConfig`."""


REAL = Scale(
    width=8,
    clip=ClipConfig(
        frames=16, stride=3, crop=64, short_side=(64, 76), test_short_side=64, flip=False
    ),
    epochs=30,
)
"""People in front of a camera, clips of some 70 frames: 48 of them leave room to draw from."""
IMAGES = replace(REAL, width=FULL_WIDTH, epochs=15, preset="official")
"""The same clips for networks whose size and layout are those of a file of image weights."""
WARPED = replace(
    REAL,
    clip=replace(REAL.clip, ticks=72, stride=4, short="clamp", warp=0.7, shade=0.7),
    epochs=120,
    label_smoothing=0.1,
)
"""The same size, told that people differ in build, stance and pace: clips are 64 of 72 ticks of a
video, however long, warped and shaded; four times the steps, as no clip is seen twice."""
LONGRANGE = Scale(
    width=8,
    clip=ClipConfig(
        frames=4, stride=6, crop=64, short_side=(64, 64), test_short_side=64, flip=False
    ),
    epochs=8,
    preset="slowfast_nopool",  # a C2D whose frames meet in the last average only: data.longrange
    batch=32,
)
"""The generated long-range set, whose label no such C2D can find."""
LABELS = replace(LONGRANGE, clip=replace(LONGRANGE.clip, frames=1, stride=12), epochs=4)
"""The same with several labels, for Table 4: its recipes have 128 frames, so 4 again, 6 apart."""


def scaled(recipe: Recipe, scale: Scale, *, videos: int, classes: int, seed: int) -> Recipe:
    """The recipe at a scale: from random weights, a file, or the same seed's run before it.

    Args:
        recipe: Of the paper's size.
        scale: What to cut it down to.
        videos: To train on.
        classes: Of the data.
        seed: Of the weights and of training.

    Example:
        >>> from nonlocalnet.recipes.tables import recipe_named
        >>> small = scaled(recipe_named("nl5_i3d_r50_128f"), REAL, videos=431, classes=27, seed=3)
        >>> small.init, small.clip.frames, small.clip.stride, small.train.batch, small.train.steps
        ('nl5_i3d_r50-3', 64, 1, 4, 808)
    """
    model, clip, train = recipe.model, recipe.clip, recipe.train
    blocks = model.name.startswith("nl") or model.nonlocal_
    steps = scale.epochs * videos // scale.batch
    first = recipe.init in ("", "imagenet") or recipe.multi_label
    # Charades' small batches, rate and frozen batch norm are those of weights that exist.
    base = FULL_TRAIN if recipe.multi_label else train
    file = bool(Path(recipe.init).suffix)
    return replace(
        recipe,
        model=replace(
            model,
            num_classes=classes,
            preset=scale.preset,
            width=round((model.width or FULL_WIDTH) * scale.width / FULL_WIDTH),
            head_window=max(1, scale.clip.crop // 32),  # every stride is 32
            # The paper's text has no factor; the released code has, and it starts unsaturated.
            scale="unit" if blocks else "preset",
        ),
        clip=replace(
            scale.clip,
            frames=scale.clip.frames * clip.frames // FULL_CLIP.frames,
            stride=max(1, scale.clip.stride * clip.stride // FULL_CLIP.stride),
            mean=clip.mean,
            std=clip.std,
        ),
        train=replace(
            train,
            steps=steps,
            batch=max(1, scale.batch * base.batch // FULL_TRAIN.batch),
            lr=scale.lr * base.lr / FULL_TRAIN.lr,
            schedule="cosine",
            warmup=min(steps // 10, 50),
            optimizer="adamw",
            weight_decay=scale.weight_decay,
            bn=base.bn,
            label_smoothing=scale.label_smoothing,
            validate_every=max(1, steps // 4),
            validation="1x1",
            checkpoint_every=max(1, min(100, steps // 5)),
            seed=seed,
        ),
        init="" if first else recipe.init if file else f"{recipe.init}-{seed}",
    )


def budget(recipe: Recipe) -> str:
    """What a run spends, in words.

    Example:
        >>> from nonlocalnet.recipes.tables import recipe_named
        >>> budget(scaled(recipe_named("c2d_r50"), REAL, videos=431, classes=27, seed=0))
        'width 8, 16 x 64 px, every 3rd frame, 808 steps of 16 clips'
    """
    clip, train = recipe.clip, recipe.train
    ticks = f" of {clip.ticks}" if clip.ticks else ""
    varied = f", warp {clip.warp:g}, shade {clip.shade:g}" if clip.warp or clip.shade else ""
    return (
        f"width {recipe.model.width or FULL_WIDTH}, {clip.frames} x {clip.crop} px, "
        f"every {nth(clip.stride)}{ticks}{varied}, "
        f"{train.steps} steps of {train.batch} clips"
    )


def nth(stride: int) -> str:
    """Which frames a stride keeps.

    Example:
        >>> [nth(stride) for stride in (1, 2, 3, 4)]
        ['frame', '2nd frame', '3rd frame', '4th frame']
    """
    ends = {1: "", 2: "2nd ", 3: "3rd "}
    return f"{ends.get(stride, f'{stride}th ')}frame"
