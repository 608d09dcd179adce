"""A table with our figures beside the paper's, and what they say, as Markdown; from files alone."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from nonlocalnet.engine.seeds import Estimate, estimate
from nonlocalnet.recipes.evidence import Run, read_runs
from nonlocalnet.recipes.experiments import EXPERIMENTS, Experiment
from nonlocalnet.recipes.tables import HEADS
from nonlocalnet.viz.beside import Pair, draw_beside

MISSING = "not run yet"
Sets = Mapping[str, Mapping[str, list[Run]]]
"""Runs per recipe, of each data set."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One comparison: a row minus another, by its published and by our figures."""

    row: str
    against: str
    published: float | None
    """Points."""
    ours: Estimate

    @property
    def verdict(self) -> str:
        """Whether ours agrees with the paper's sign, by the 95 % interval.

        Where the paper printed no figures for a row (a control) its words say what it found.
        """
        if self.ours.seeds < 2:
            return "one seed: no verdict"
        if self.ours.low <= 0 <= self.ours.high:
            return "open: the interval holds 0"
        if self.published is None:
            return f"ours is {'higher' if self.ours.low > 0 else 'lower'}"
        return "agrees" if (self.ours.low > 0) == (self.published > 0) else "disagrees"


def runs_by_recipe(runs: Sequence[Run]) -> dict[str, list[Run]]:
    """Runs of one kind of settings per recipe: those of its latest line; by seed.

    Example:
        >>> runs_by_recipe([])
        {}
    """
    latest = {run.recipe: run for run in runs}
    found: dict[str, list[Run]] = {name: [] for name in latest}
    for run in runs:
        if (run.settings, run.videos) == (latest[run.recipe].settings, latest[run.recipe].videos):
            found[run.recipe].append(run)
    return {name: sorted(own, key=lambda run: run.seed) for name, own in found.items()}


def answers(experiment: Experiment, runs: Mapping[str, list[Run]]) -> list[Answer]:
    """All comparisons of a table for which both rows have a seed in common."""
    rows = {row.words: row for row in experiment.rows}
    metric, found = experiment.columns[0], []
    for row in experiment.rows:
        for base in experiment.against(row.words):
            pair = [rows[words].recipe for words in (row.words, base)]
            ours, theirs = ({run.seed: run for run in _of(runs, r)} for r in pair)
            common = sorted(set(ours) & set(theirs))
            if not common or pair[0] == pair[1]:
                continue
            figures = [[runs_[s].figure(metric) for s in common] for runs_ in (ours, theirs)]
            mine, other = (rows[words].published.get(metric) for words in (row.words, base))
            published = None if mine is None or other is None else mine - other
            found.append(
                Answer(
                    row=row.words,
                    against=base,
                    published=published,
                    ours=estimate(figures[0], ours[common[0]].tested, figures[1]),
                )
            )
    return found


def markdown(experiment: Experiment, runs: Mapping[str, list[Run]]) -> str:
    """The table's rows, then its comparisons."""
    heads = [HEADS[column] for column in experiment.columns]
    first = experiment.columns[0]
    head = ["row", *(f"{h}, paper" for h in heads), f"{HEADS[first]}, ours"]
    head += ["seeds", "parameters", "multiply-adds", "training"]
    lines = [_line(head), _line(["---"] * len(head))]
    for row in experiment.rows:
        printed = [_number(row.published.get(column)) for column in experiment.columns]
        own = _of(runs, row.recipe)
        if not own:
            others = "elsewhere" if experiment.left_out else "not run here"
            cells = [MISSING if row.recipe else others, *[""] * 4]
        else:
            found = estimate([run.figure(first) for run in own], own[0].tested)
            seconds = sum(run.train_seconds for run in own) / len(own)
            cells = [
                f"**{100 * found.mean:.1f}** ({100 * found.low:.1f} to {100 * found.high:.1f})",
                str(found.seeds),
                f"{own[0].parameters:,}",
                f"{own[0].multiply_adds / 1e6:.1f} M",
                f"{seconds:.0f} s",
            ]
        lines.append(_line([row.words, *printed, *cells]))
    compared = answers(experiment, runs)
    if compared:
        head = ["difference", "paper", "ours (95 % interval)", "seeds", ""]
        lines += ["", _line(head), _line(["---"] * len(head))]
        for found in compared:
            cells = [
                f"{found.row} - {found.against}",
                "" if found.published is None else f"{found.published:+.1f}",
                _points(found.ours),
                str(found.ours.seeds),
                found.verdict,
            ]
            lines.append(_line(cells))
    return "\n".join(lines)


def read_sets(evidence: Path) -> Sets:
    """All evidence files of a folder.

    Raises:
        ValueError: A line is not one of a run.
    """
    return {file.stem: runs_by_recipe(read_runs(file)) for file in sorted(evidence.glob("*.jsonl"))}


def ran(experiment: Experiment, sets: Sets) -> Sets:
    """The sets on which a row of a table ran."""
    wanted = [recipe.name for recipe in experiment.recipes]
    return {data: runs for data, runs in sets.items() if any(r in runs for r in wanted)}


def page(evidence: Path, sets: Sets, texts: Mapping[str, Mapping[str, str]]) -> str:
    """`docs/evidence.md`: every question with its figure, and what every set says.

    Args:
        evidence: The folder, for its pictures and probes.
        sets: Of `read_sets`.
        texts: `markdown` of each table on each set, or one of no runs.
    """
    parts = [INTRODUCTION, *_probes(evidence)]
    for name, experiment in EXPERIMENTS.items():
        parts.append(f"## Table {name}. {experiment.question}")
        parts.append(f"**The paper.** {experiment.title}. {experiment.found}")
        found = ran(experiment, sets)
        if not found:
            why = experiment.left_out or f"{MISSING}: no run of its rows is in the evidence files"
            parts += [f"**Ours.** {why}.", *texts[name].values()]
        for data, runs in found.items():
            parts += [f"**Ours, on {data}.** {_budget(experiment, runs)}"]
            if (evidence / picture_name(name, data)).exists():
                parts.append(f"![Table {name} on {data}](evidence/{picture_name(name, data)})")
            parts.append(texts[name][data])
            parts.append("Run one row again:\n\n```\n" + _command(experiment, runs) + "\n```")
        if found and experiment.why:
            parts.append(f"**Why.** {experiment.why}")
    for title, file, text in PICTURES:
        if (evidence / file).exists():
            parts += [f"## {title}", f"![{title}](evidence/{file})", text]
    return "\n\n".join(parts) + "\n"


def _probes(evidence: Path) -> list[str]:
    """What linear classifiers without a network reach, as `benchmarks/probes.py` left it."""
    parts = []
    for file in sorted((evidence / "probes").glob("*.jsonl")):
        rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
        if not rows:  # the script that writes it was stopped
            continue
        lines = [_line(["a linear classifier of", "top-1, 95 % interval"]), _line(["---"] * 2)]
        for row in rows:
            low, high = (100 * limit for limit in row["interval"])
            figure = f"**{100 * row['top1']:.1f}** ({low:.1f} to {high:.1f})"
            lines.append(_line([row["probe"], figure]))
        chance = f"{100 / rows[0]['classes']:.1f} by chance"
        parts += [
            f"## Without a network, on {file.stem}",
            "What to stand above, on the same split "
            f"({rows[0]['trained']} and {rows[0]['tested']} videos, {chance}), by "
            f"`python benchmarks/probes.py DATA --json > docs/evidence/probes/{file.name}`. "
            "The last one knows the order of time, which no C2D does.",
            "\n".join(lines),
        ]
    return parts


def draw(name: str, evidence: Path, data: str, runs: Mapping[str, list[Run]]) -> Path:
    """The table's picture beside its evidence file."""
    experiment = EXPERIMENTS[name]
    metric, pairs = experiment.columns[0], []
    for row in experiment.rows:
        own = _of(runs, row.recipe)
        if row.recipe is None:
            continue
        measured = {}
        if own:
            found = estimate([run.figure(metric) for run in own], own[0].tested)
            measured = {key: 100 * getattr(found, key) for key in ("mean", "low", "high")}
            measured["seeds"] = [run.percent[metric] for run in own]
        pairs.append(Pair(words=row.words, published=row.published.get(metric), **measured))
    path = evidence / picture_name(name, data)
    draw_beside(pairs, path, x_label=f"{HEADS[metric]} (%)", data=data)
    return path


def picture_name(table: str, data: str) -> str:
    """Of a table's picture on a set."""
    return f"{table}-{data}.png"


def _of(runs: Mapping[str, list[Run]], recipe) -> list[Run]:
    return runs.get(recipe.name, []) if recipe is not None else []


def _budget(experiment: Experiment, runs: Mapping[str, list[Run]]) -> str:
    budgets = {run.budget: run for r in experiment.recipes for run in _of(runs, r)}
    run = next(iter(budgets.values()))
    others = f" (other rows: {'; '.join(list(budgets)[1:])})" if len(budgets) > 1 else ""
    return f"{next(iter(budgets))}{others}; test {run.protocol}, {run.tested} videos."


def _command(experiment: Experiment, runs: Mapping[str, list[Run]]) -> str:
    return next(run.command for r in experiment.recipes for run in _of(runs, r))


def _points(found: Estimate) -> str:
    return f"{100 * found.mean:+.1f} ({100 * found.low:+.1f} to {100 * found.high:+.1f})"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:g}"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


PICTURES = (
    (
        "Figure 3. What do the blocks look at?",
        "figure3-utd-mhad-depth.png",
        """**The paper.** Arrows from a position to the 20 places that weigh most: the ball, the
people, across frames.

**Ours.** NL5 C2D (seed 0) on a person whom it has never seen; it says bowling, which is right. From
the hand that swings, the last block of res3 looks beside the legs and above the head, in all
frames: along the border of the figure, in cells of 16 px of 64, not at one part of it.

```
nonlocalnet reproduce 2c --data ../shared/data/utd-mhad-depth --only nl5_c2d_r50 --seed 0
nonlocalnet explain ../shared/data/utd-mhad-depth/bowling/a12_s2_t1.mp4 --view both \\
  --model runs/evidence/utd-mhad-depth/nl5_c2d_r50-0 --at 1.23,118,95 \\
  --out docs/evidence/figure3-utd-mhad-depth.png
```""",
    ),
    (
        "Figure 4. Is the error lower all along the training?",
        "figure4-utd-mhad-depth.png",
        """**The paper.** Training and validation error of C2D with five blocks are below those
of C2D throughout.

**Ours.** Not here: in seed 0 the blocks learn more slowly from the second hundred steps on, and end
at 41.2 % of one clip per video against 39.0 %; neither has learnt the training clips by heart.

```
nonlocalnet reproduce 2f --data ../shared/data/utd-mhad-depth --only c2d_r50 --seed 0
nonlocalnet plot runs/evidence/utd-mhad-depth/c2d_r50-0 \\
  runs/evidence/utd-mhad-depth/nl5_c2d_r50-0 --smooth 8 \\
  --out docs/evidence/figure4-utd-mhad-depth.png
```""",
    ),
)
"""The paper's figures, where the evidence folder has them: title, file, what stands below."""

INTRODUCTION = """# The evidence: the paper's questions at a CPU's scale

Written by `nonlocalnet reproduce all --render` from the lines of `docs/evidence/*.jsonl`, one for
every run made with the final settings, whatever its figure. Kinetics does not fit on the machines
of this project, the paper's questions do: each recipe is scaled down by one function
(`recipes/scaled.py`: narrower, smaller clips, fewer steps; same depth, blocks, places, kinds and
test), trained from random weights, and tested with ten clips of each video.

- utd-mhad-depth: 27 actions in front of a depth camera, trained on four people and tested on three
  others (UTD-MHAD, Chen et al., ICIP 2015).
- longrange: generated videos whose label needs two places that are far apart
  (`data/longrange.py`).
- longrange-labels: the same with none, one or two labels a video, which Table 4 needs.

A figure is the mean over seeds, in percent, with a 95 % interval from a bootstrap over seeds and
test videos; a difference is that of the same seed on the same videos. "agrees": the interval of our
difference lies on the side of the paper's; "open": it holds 0. Training seconds are of the
processor.

Where ours disagrees, think first of what is not alike: the paper's networks start from ImageNet and
see 240,000 videos of 400 kinds; ours start from random weights at an eighth of the width, and see
the 431 to 3,072 training videos of the set. And the rows of a softmax saturate there within the
few steps, each query looks at one key: block weights drawn with deviation 0.01, as in the released
code, give five blocks in C2D 1.5 and 6.5 points more in two seeds (docs/LOG.md, 2026-11-24). They
are not used here, where the settings are those chosen for the network without blocks. What they are
is no limit of these networks: table warp asks how far they go.

```
nonlocalnet reproduce 2c --data ../shared/data/utd-mhad-depth  # runs what the file lacks
nonlocalnet reproduce 2c --data longrange --depth r50          # on the generated set
nonlocalnet reproduce all --render                             # this page, from the files
```

A run that was killed goes on where it stood. Several processes may share the work if each has
seeds or a depth of its own (`--seed`, `--depth`). The networks are narrow: on two cores
`OMP_NUM_THREADS=1` makes them 1.3 to 1.4 times as fast
([performance.md](performance.md#training-step)). A run repeats to the last digit with the same
number of threads on the same kind of processor; elsewhere sums are rounded otherwise, and it is
another draw, as another seed is: one row gave 68.7 when it was first run, and later 62.5 with one
thread and 61.0 with two (docs/LOG.md, 2026-11-29)."""
