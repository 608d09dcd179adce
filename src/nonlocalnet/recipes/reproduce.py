"""Runs the rows of a table on a data set, every seed, whatever is not in its evidence file yet."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from nonlocalnet.data.check import check
from nonlocalnet.data.folder import VideoFolder, read_folder
from nonlocalnet.data.found import videos_under
from nonlocalnet.data.generated import write_matches
from nonlocalnet.data.longrange import write_longrange
from nonlocalnet.data.prepare import Preparation, prepare
from nonlocalnet.recipes.config import Machine
from nonlocalnet.recipes.evidence import (
    Run,
    append_run,
    read_runs,
    settings_hash,
    train_and_test,
)
from nonlocalnet.recipes.experiments import table_of
from nonlocalnet.recipes.recipe import Recipe
from nonlocalnet.recipes.scaled import LABELS, LONGRANGE, REAL, Scale, scaled
from nonlocalnet.recipes.tables import all_recipes

GENERATED = {
    "longrange": lambda folder: write_longrange(folder, train=1536, test=192),
    "longrange-labels": write_matches,
}
"""Names that stand for generated sets in place of a folder."""
SCALES = {"longrange": LONGRANGE, "longrange-labels": LABELS}
"""By the name of a set; others are real videos."""


@dataclass(frozen=True, kw_only=True)
class Bench:
    """One data set, opened, and how its runs are made."""

    name: str
    """Of the set, and of its evidence file."""
    given: str
    """What the user called it."""
    folder: VideoFolder
    scale: Scale | None
    """None: the recipes as they are."""
    out: Path
    """Gets the run folders."""
    file: Path
    """The evidence file."""
    machine: Machine
    init: str = ""
    """The file of image weights, for rows that start from one."""

    def sized(self, recipe: Recipe, seed: int) -> Recipe:
        """A recipe as it is run here."""
        if self.scale is None:
            chained = recipe.init in all_recipes() and not recipe.multi_label
            init = f"{recipe.init}-{seed}" if chained else recipe.init
            return replace(recipe, train=replace(recipe.train, seed=seed), init=init)
        train, labels = self.folder.splits["train"], self.folder.labels
        return scaled(recipe, self.scale, videos=len(train), classes=len(labels), seed=seed)


def open_bench(
    data: str,
    *,
    full: bool,
    out: Path,
    evidence: Path,
    machine: Machine,
    scale: Scale | None = None,
    init: str = "",
    say: Callable[[str], None] = print,
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> Bench:
    """Opens a set; at a CPU's scale its frames are first prepared at the size that training needs.

    Args:
        data: A labelled folder or list, or the name of a generated set.
        full: The recipes as they are, not scaled down.
        out: Gets run folders and prepared frames, by set.
        evidence: The folder of evidence files.
        machine: How training uses the machine.
        scale: On real videos; None: `REAL`.
        init: The file of image weights, for rows that start from one.
        say: Gets a few sentences.
        progress: Called with (files done, files in all).

    Raises:
        ValueError: See `read_folder`.
    """
    source = Path(data)
    name = source.stem if source.is_file() else source.resolve().name
    if data in GENERATED:
        name, source = data, out / data / "videos"
        if not (source / "videos.csv").exists():
            say(f"writing the set {data} to {source}")
            GENERATED[data](source)
    out = out / (f"{name}-full" if full else name)
    scale = None if full else SCALES.get(name, scale or REAL)
    cache = None
    if scale is not None:
        cache = out / "cache"
        root = source if source.is_dir() else source.parent
        found = videos_under(source, root)
        how = Preparation(short_side=scale.clip.short_side[1])
        say(f"frames of {how.short_side} px in {cache}")
        rows = check(root, found.rates, cache / "manifest.csv", rates=found.rates)
        prepare(root, rows, cache, how, progress=progress)
    folder = read_folder(source, prepared=cache)
    return Bench(
        name=name,
        given=data,
        folder=folder,
        scale=scale,
        out=out,
        file=evidence / f"{name}{'-full' if full else ''}.jsonl",
        machine=machine,
        init=init,
    )


def reproduce(
    recipes: Sequence[Recipe],
    seeds: Collection[int],
    bench: Bench,
    *,
    again: bool = False,
    say: Callable[[str], None] = print,
    progress: bool = True,
) -> list[Run]:
    """Runs rows with seeds and appends each to the evidence file; returns them all.

    Seed by seed, so that a table that is stopped has whole seeds. A run that another one starts
    from is appended like any other.

    Args:
        recipes: Of the rows, at the paper's size.
        seeds: Which.
        bench: Where.
        again: Run what the evidence file has already; it keeps the earlier line.
        say: Gets a few sentences.
        progress: Show bars.
    """
    kept = {run.key: run for run in read_runs(bench.file)}
    done = []
    for seed in seeds:
        for recipe in recipes:
            small = bench.sized(recipe, seed)
            known = kept.get((recipe.name, seed, settings_hash(small)))
            if known is not None and not again:
                done.append(known)
                continue
            say(f"\n{recipe.name}, seed {seed}")
            run = _run(recipe, seed, bench, say, progress)
            seconds = f"trained in {run.train_seconds:.0f} s, tested in {run.test_seconds:.0f} s"
            say(f"{_figures(run)}; {seconds}")
            if known is not None:
                say(f"the evidence file has {_figures(known)} for it")
            done.append(run)
    return done


def _run(
    recipe: Recipe,
    seed: int,
    bench: Bench,
    say: Callable[[str], None],
    progress: bool,
) -> Run:
    """One run, after the one that it starts from; both are in the evidence file then."""
    small = bench.sized(recipe, seed)
    chained = small.init == f"{recipe.init}-{seed}"
    if chained:
        say(f"{recipe.name} starts from {recipe.init}")
        _run(all_recipes()[recipe.init], seed, bench, say, progress)
    init = "" if chained or small.init in ("", "imagenet") else bench.init
    done = train_and_test(
        small,
        bench.folder,
        bench.out / f"{recipe.name}-{seed}",
        command=f"nonlocalnet reproduce {table_of(recipe)} "
        f"--scale {'full' if bench.scale is None else 'cpu'} --data {bench.given} "
        f"--only {recipe.name} --seed {seed}{init and f' --init {init}'}",
        init=init,
        machine=bench.machine,
        say=say,
        progress=progress,
    )
    append_run(bench.file, done)
    return done


def _figures(run: Run) -> str:
    return ", ".join(f"{name} {value:.1f} %" for name, value in run.percent.items())
