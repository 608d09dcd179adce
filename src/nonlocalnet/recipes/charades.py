"""The paper's systems on Charades: Table 4, one function for each network and split.

Source   Sec. 5.2. `published` is the mean average precision in percent.
Command  nonlocalnet train --recipe NAME --data DIR --init RUN_OF_THE_KINETICS_RECIPE
"""

from dataclasses import replace

from nonlocalnet.data.charades import CLASSES
from nonlocalnet.data.clips import CHARADES
from nonlocalnet.recipes import kinetics
from nonlocalnet.recipes.recipe import Recipe, TestConfig


def i3d_r101_charades() -> Recipe:
    """I3D, ResNet-101, trained on train and tested on val."""
    return _charades(kinetics.i3d_r101_128f(), 35.5, "Table 4: I3D [ours], train/val")


def nl5_i3d_r101_charades() -> Recipe:
    """NL I3D, ResNet-101, trained on train and tested on val."""
    return _charades(kinetics.nl5_i3d_r101_128f(), 37.5, "Table 4: NL I3D [ours], train/val")


def i3d_r101_charades_trainval() -> Recipe:
    """I3D, ResNet-101, trained on train and val; the test labels are secret: ends in a submission.

    Only the data differ from `i3d_r101_charades`.
    """
    source = "Table 4: I3D [ours], trainval/test"
    return _charades(kinetics.i3d_r101_128f(), 37.2, source, "_trainval")


def nl5_i3d_r101_charades_trainval() -> Recipe:
    """NL I3D, ResNet-101, trained on train and val; ends in a submission.

    Only the data differ from `nl5_i3d_r101_charades`.
    """
    source = "Table 4: NL I3D [ours], trainval/test"
    return _charades(kinetics.nl5_i3d_r101_128f(), 39.5, source, "_trainval")


def _charades(before: Recipe, m_ap: float, source: str, split: str = "") -> Recipe:
    """Fine-tuning (Sec. 5.2): 1 clip on each of 8 GPUs, a sigmoid per class, test at 320 px."""
    return Recipe(
        name=f"{before.model.name}_charades{split}",
        model=replace(before.model, num_classes=CLASSES),
        clip=CHARADES,
        train=replace(
            before.train,  # so frozen batch norm: not in the paper, but 1 clip leaves no choice
            batch=8,
            lr=0.00125,
            steps=200_000,
            decay_at=(75_000, 150_000),
        ),
        # The paper does not say how the views of a video are joined. An action fills a part of a
        # Charades video, so its mean over ten clips is small: others needed the largest score.
        test=TestConfig(views="10x1", combine="max"),
        init=before.name,
        multi_label=True,
        published={"mAP": m_ap},
        source=source,
    )
