"""The paper's tables of video systems, and the recipe behind each row that is the paper's own.

Source   Tables 2a to 2g, 3 and 4. Table 1 and the costs of Table 2e are in `models.paper`.
"""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass

from nonlocalnet.recipes import charades, kinetics
from nonlocalnet.recipes.recipe import Recipe

HEADS = {"top1": "top-1", "top5": "top-5", "mAP": "mAP"}
HEADS |= {"box_AP": "box", "box_AP50": "box50", "box_AP75": "box75"}
HEADS |= {"mask_AP": "mask", "mask_AP50": "mask50", "mask_AP75": "mask75"}
HEADS |= {"kp_AP": "kp", "kp_AP50": "kp50", "kp_AP75": "kp75"}
HEADS |= {"top1_test": "test-1", "top5_test": "test-5", "avg_test": "avg"}
"""What stands above the columns of the tables."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One system; where a row has figures on two splits, one for each."""

    words: str
    """What the paper's row says of it."""
    recipe: Recipe | None
    """None: somebody else's system."""
    published: Mapping[str, float]
    """Percent, by column."""


@dataclass(frozen=True, kw_only=True)
class Table:
    """One table."""

    title: str
    rows: tuple[Row, ...]
    columns: tuple[str, ...] = ("top1", "top5")
    """Of `Row.published`; a row may lack some."""


def all_recipes() -> dict[str, Recipe]:
    """Every distinct system by its name, in the order of the tables.

    Example:
        >>> list(all_recipes())[:3]
        ['c2d_r50', 'nl1_c2d_r50_gaussian', 'nl1_c2d_r50']
    """
    rows = (row for table in TABLES.values() for row in table.rows)
    return {row.recipe.name: row.recipe for row in rows if row.recipe is not None}


def recipe_named(name: str) -> Recipe:
    """One of `all_recipes()`.

    Raises:
        ValueError: There is none of this name.

    Example:
        >>> recipe_named("nl5_i3d_r50_128f").published
        {'top1': 76.5, 'top5': 92.6}
    """
    recipes = all_recipes()
    if name not in recipes:
        near = difflib.get_close_matches(name, recipes, 3)
        raise ValueError(
            f"no recipe {name!r}; nearest: {', '.join(near) or 'none'} "
            "(nonlocalnet recipes lists all)"
        )
    return recipes[name]


def _ours(words: str, recipe: Recipe) -> Row:
    return Row(words=words, recipe=recipe, published=recipe.published)


def _theirs(words: str, **published: float) -> Row:
    return Row(words=words, recipe=None, published=published)


TABLES = {
    "2a": Table(
        title="Instantiations: one block of each type in C2D, R50",
        rows=(
            _ours("C2D baseline", kinetics.c2d_r50()),
            _ours("Gaussian", kinetics.nl1_c2d_r50_gaussian()),
            _ours("Gaussian, embed", kinetics.nl1_c2d_r50()),
            _ours("dot-product", kinetics.nl1_c2d_r50_dot_product()),
            _ours("concatenation", kinetics.nl1_c2d_r50_concatenation()),
        ),
    ),
    "2b": Table(
        title="Stages: one block in each stage of C2D, R50",
        rows=(
            _ours("baseline", kinetics.c2d_r50()),
            _ours("res2", kinetics.nl1_c2d_r50_res2()),
            _ours("res3", kinetics.nl1_c2d_r50_res3()),
            _ours("res4", kinetics.nl1_c2d_r50()),
            _ours("res5", kinetics.nl1_c2d_r50_res5()),
        ),
    ),
    "2c": Table(
        title="Deeper non-local models: 1, 5 and 10 blocks in C2D",
        rows=(
            _ours("R50 baseline", kinetics.c2d_r50()),
            _ours("R50 1-block", kinetics.nl1_c2d_r50()),
            _ours("R50 5-block", kinetics.nl5_c2d_r50()),
            _ours("R50 10-block", kinetics.nl10_c2d_r50()),
            _ours("R101 baseline", kinetics.c2d_r101()),
            _ours("R101 1-block", kinetics.nl1_c2d_r101()),
            _ours("R101 5-block", kinetics.nl5_c2d_r101()),
            _ours("R101 10-block", kinetics.nl10_c2d_r101()),
        ),
    ),
    "2d": Table(
        title="Space, time, spacetime: 5 blocks in C2D",
        rows=(
            _ours("R50 baseline", kinetics.c2d_r50()),
            _ours("R50 space-only", kinetics.nl5_c2d_r50_space()),
            _ours("R50 time-only", kinetics.nl5_c2d_r50_time()),
            _ours("R50 spacetime", kinetics.nl5_c2d_r50()),
            _ours("R101 baseline", kinetics.c2d_r101()),
            _ours("R101 space-only", kinetics.nl5_c2d_r101_space()),
            _ours("R101 time-only", kinetics.nl5_c2d_r101_time()),
            _ours("R101 spacetime", kinetics.nl5_c2d_r101()),
        ),
    ),
    "2e": Table(
        title="Non-local and 3D convolution, R101 (costs: nonlocalnet models --check)",
        rows=(
            _ours("C2D baseline", kinetics.c2d_r101()),
            _ours("I3D 3x3x3", kinetics.i3d333_r101()),
            _ours("I3D 3x1x1", kinetics.i3d_r101()),
            _ours("NL C2D, 5-block", kinetics.nl5_c2d_r101()),
        ),
    ),
    "2f": Table(
        title="Non-local 3D ConvNet: 5 blocks in I3D",
        rows=(
            _ours("R50 C2D baseline", kinetics.c2d_r50()),
            _ours("R50 I3D", kinetics.i3d_r50()),
            _ours("R50 NL I3D", kinetics.nl5_i3d_r50()),
            _ours("R101 C2D baseline", kinetics.c2d_r101()),
            _ours("R101 I3D", kinetics.i3d_r101()),
            _ours("R101 NL I3D", kinetics.nl5_i3d_r101()),
        ),
    ),
    "2g": Table(
        title="Longer clips: Table 2f with 128 frames",
        rows=(
            _ours("R50 C2D baseline", kinetics.c2d_r50_128f()),
            _ours("R50 I3D", kinetics.i3d_r50_128f()),
            _ours("R50 NL I3D", kinetics.nl5_i3d_r50_128f()),
            _ours("R101 C2D baseline", kinetics.c2d_r101_128f()),
            _ours("R101 I3D", kinetics.i3d_r101_128f()),
            _ours("R101 NL I3D", kinetics.nl5_i3d_r101_128f()),
        ),
    ),
    "3": Table(
        title="Kinetics, validation and test; avg: mean of top-1 and top-5 on test",
        columns=("top1", "top5", "top1_test", "top5_test", "avg_test"),
        rows=(
            _theirs(
                "I3D in [7], Inception",
                top1=72.1,
                top5=90.3,
                top1_test=71.1,
                top5_test=89.3,
                avg_test=80.2,
            ),
            _theirs(
                "2-Stream I3D in [7], with flow",
                top1=75.7,
                top5=92.0,
                top1_test=74.2,
                top5_test=91.3,
                avg_test=82.8,
            ),
            _theirs("RGB baseline in [3]", top1=73.0, top5=90.9),
            _theirs("3-stream late fusion [3]", top1=74.9, top5=91.6),
            _theirs("3-stream LSTM [3]", top1=77.1, top5=93.2),
            _theirs("3-stream SATT [3]", top1=77.7, top5=93.2),
            _ours("NL I3D [ours], R50", kinetics.nl5_i3d_r50_128f()),
            _ours("NL I3D [ours], R101", kinetics.nl5_i3d_r101_128f()),
        ),
    ),
    "4": Table(
        title="Charades, R101, on train/val and on trainval/test",
        columns=("mAP",),
        rows=(
            _theirs("2-Stream [43], train/val", mAP=18.6),
            _theirs("2-Stream + LSTM [43], train/val", mAP=17.8),
            _theirs("Asyn-TF [43], train/val", mAP=22.4),
            _theirs("I3D [7], train/val", mAP=32.9),
            _theirs("I3D [7], trainval/test", mAP=34.4),
            _ours("I3D [ours], train/val", charades.i3d_r101_charades()),
            _ours("I3D [ours], trainval/test", charades.i3d_r101_charades_trainval()),
            _ours("NL I3D [ours], train/val", charades.nl5_i3d_r101_charades()),
            _ours("NL I3D [ours], trainval/test", charades.nl5_i3d_r101_charades_trainval()),
        ),
    ),
}
