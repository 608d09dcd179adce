"""Runs of scaled recipes, and the small file that keeps what each of them found.

One file per data set, one line per run: a row that stands in several tables (the C2D baseline in
five) is run once. A line keeps the rank of the true label for every test video, so that means and
paired intervals over seeds and videos can be computed from the file alone.
"""

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch

from nonlocalnet.data.folder import VideoFolder
from nonlocalnet.engine.classifier import load
from nonlocalnet.engine.partial import Partial
from nonlocalnet.engine.protocol import Protocol
from nonlocalnet.engine.statistics import Figure, add_statistics, figures
from nonlocalnet.engine.testing import run_test
from nonlocalnet.files import write_atomically
from nonlocalnet.models.costs import count
from nonlocalnet.recipes.config import Machine
from nonlocalnet.recipes.recipe import Recipe
from nonlocalnet.recipes.run import run
from nonlocalnet.recipes.scaled import budget

YOUNGER = {"clip": ("ticks", "warp", "shade"), "train": ("label_smoothing",)}
"""Settings that came after the first kept runs: at their defaults a run is what it was."""
DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
Saying = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Run:
    """One line of an evidence file."""

    recipe: str
    seed: int
    percent: dict[str, float]
    """Figures of the test, without their stamp."""
    protocol: str
    """Their stamp: views and size."""
    budget: str
    settings: str
    """Hash of all settings but the seed: runs of other settings are not mixed."""
    parameters: int
    multiply_adds: int
    """Of one clip."""
    train_seconds: float
    """Of the processor, without loading processes; of the last sitting if resumed."""
    test_seconds: float
    torch: str
    videos: str
    """Hash of the test's videos and labels."""
    ranks: str = ""
    """A digit per test video, in one order for all runs: the true label's rank in base 36, z for 35
    and beyond."""
    scores: tuple[tuple[float, ...], ...] = ()
    """Of a set with several labels: every video's scores, in that order."""
    targets: tuple[tuple[int, ...], ...] = ()
    """Of such a set: the numbers of every video's labels."""
    command: str

    @property
    def key(self) -> tuple[str, int, str]:
        """What makes it the same run as another."""
        return self.recipe, self.seed, self.settings

    def figure(self, name: str) -> Figure:
        """One figure as a function of how often each test video counts.

        Raises:
            KeyError: The run has no such figure.
        """
        if self.ranks:
            rows: list[dict[str, Any]] = [{"rank": DIGITS.index(digit)} for digit in self.ranks]
            return figures({"labels": range(len(DIGITS)), "videos": rows})[name]
        labels = range(len(self.scores[0]))
        rows = [
            {"labels": own, "scores": scores}
            for own, scores in zip(self.targets, self.scores, strict=True)
        ]
        return figures({"labels": labels, "videos": rows})[name]

    @property
    def tested(self) -> int:
        """Number of test videos."""
        return len(self.ranks) or len(self.scores)


def read_runs(file: Path) -> list[Run]:
    """All runs of an evidence file; [] where there is none.

    Raises:
        ValueError: A line is not one of a run.
    """
    if not file.exists():
        return []
    runs = []
    known = {field.name for field in fields(Run)}
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
        try:
            row = json.loads(line)
            runs.append(Run(**{key: value for key, value in row.items() if key in known}))
        except (TypeError, ValueError, AttributeError) as error:
            raise ValueError(
                f"{file}, line {number}: not a run of nonlocalnet reproduce ({error}); mend or "
                "remove the line"
            ) from None
    return runs


def append_run(file: Path, done: Run) -> None:
    """Adds a line; of the same recipe, seed and settings only one is ever kept, the first.

    Appended, not rewritten: several processes may run different rows.
    """
    if any(done.key == run.key for run in read_runs(file)):
        return
    plain = {field.name: getattr(done, field.name) for field in fields(Run)}
    line = json.dumps({key: value for key, value in plain.items() if value != ()})
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a", encoding="utf-8") as lines:
        lines.write(line + "\n")


def settings_hash(recipe: Recipe) -> str:
    """Of everything that a run's figure depends on but its seed."""
    before = recipe.init.removesuffix(f"-{recipe.train.seed}")
    plain = asdict(replace(recipe, init=before, published={}, source=""))
    del plain["train"]["seed"]
    fresh = asdict(Recipe(name=""))
    for part, names in YOUNGER.items():
        for name in names:
            if plain[part][name] == fresh[part][name]:
                del plain[part][name]
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()[:12]


def train_and_test(
    recipe: Recipe,
    folder: VideoFolder,
    out: Path,
    *,
    command: str,
    init: str = "",
    machine: Machine,
    say: Saying = print,
    progress: bool = True,
) -> Run:
    """One run, resumed where it stands; what is complete in its folder is not repeated.

    Args:
        recipe: As it is to be run: scaled, seeded.
        folder: The data.
        out: The run folder; its results.json is what makes it complete.
        command: That makes this run again.
        init: The file that the recipe's first weights are in, if they are in one.
        machine: How training uses the machine.
        say: Gets a few sentences.
        progress: Show bars.
    """
    file, own = out / "results.json", settings_hash(recipe)
    results = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    if results.get("settings") != own:  # `run` refuses a folder of other settings
        began = time.process_time()
        run(recipe, folder, out, machine=machine, init=init, say=say, progress=progress)
        trained = time.process_time()
        classifier = load(out)
        protocol = Protocol.parse(recipe.test.views, recipe.test.combine)
        partial = Partial(file)
        results = run_test(
            classifier.model,
            classifier.labels,
            folder.splits["test"],
            classifier.clip,
            protocol,
            chunk=10,
            workers=machine.workers,
            partial=partial,
        )
        results["settings"] = own
        results["seconds"] = [trained - began, time.process_time() - trained]
        add_statistics(results)
        write_atomically(file, json.dumps(results).encode())
        partial.remove()
    return _record(recipe, results, command)


def _record(recipe: Recipe, results: dict[str, Any], command: str) -> Run:
    with torch.device("meta"):
        model = recipe.model.build()
    clip = recipe.clip
    costs = count(model, (clip.frames, clip.crop, clip.crop))
    rows = sorted(results["videos"], key=lambda row: Path(row["path"]).parts[-2:])
    train_seconds, test_seconds = (round(value, 1) for value in results["seconds"])
    found: dict[str, Any] = {"ranks": _digits([row["rank"] for row in rows if "rank" in row])}
    if recipe.multi_label:
        numbers = {label: number for number, label in enumerate(results["labels"])}
        found["scores"] = [[round(score, 6) for score in row["scores"]] for row in rows]
        found["targets"] = [[numbers[label] for label in row["labels"]] for row in rows]
    return Run(
        recipe=recipe.name,
        seed=recipe.train.seed,
        percent={k.partition("@")[0]: round(100 * v, 2) for k, v in results["metrics"].items()},
        protocol=next(iter(results["metrics"])).partition("@")[2],
        budget=budget(recipe),
        settings=settings_hash(recipe),
        parameters=costs.parameters,
        multiply_adds=costs.multiply_adds,
        train_seconds=train_seconds,
        test_seconds=test_seconds,
        torch=results["protocol"]["torch"],
        videos=results["protocol"]["videos_hash"],
        command=command,
        **found,
    )


def _digits(ranks: Sequence[int]) -> str:
    """A digit each.

    Example:
        >>> _digits([0, 11, 99])
        '0bz'
    """
    return "".join(DIGITS[min(rank, len(DIGITS) - 1)] for rank in ranks)
