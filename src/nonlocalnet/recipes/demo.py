"""The demo: does a non-local block see what a C2D of equal size cannot? On generated videos.

C2D, a C2D widened to at least the parameters of NL-C2D, and NL-C2D are trained with the same
settings on the long-range set (`data.longrange`), tested with ten clips, and looked into.
"""

import csv
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from nonlocalnet.data.folder import VideoFolder, read_folder
from nonlocalnet.data.longrange import FPS, write_longrange
from nonlocalnet.engine.classifier import load
from nonlocalnet.engine.explain import explain
from nonlocalnet.engine.faithful import faithfulness, mean_gain
from nonlocalnet.engine.protocol import Protocol
from nonlocalnet.engine.statistics import add_statistics
from nonlocalnet.engine.testing import run_test
from nonlocalnet.files import write_atomically
from nonlocalnet.recipes.config import SmallRecipe
from nonlocalnet.recipes.curves import run_curve
from nonlocalnet.recipes.explorer import write_page
from nonlocalnet.recipes.small import run_small
from nonlocalnet.viz.arrows import draw_arrows
from nonlocalnet.viz.curves import draw_curves
from nonlocalnet.viz.report import Guess, Picture, Section, Table, report_page

BASE = SmallRecipe(
    model="c2d_tiny",
    width=8,
    frames=4,
    stride=6,
    crop=64,
    jitter=1.0,
    flip=False,
    batch=32,
    epochs=8,
)
NETWORKS = {
    "C2D": BASE,
    "C2D, wider": replace(BASE, width=9),
    "NL C2D": replace(BASE, model="nl1_c2d_tiny"),
}
INTRODUCTION = """Each generated video shows a ring, then a cross and a disc, one blue and one
orange. Its label is the shape that has the ring's colour: two places far apart in space and time
must be brought together. A C2D joins its frames only by the average at its end, which adds
evidence frame by frame and cannot; one non-local block can. Same depth, training and test."""
SHOWN = 3  # held-out videos predicted and drawn in the report
HIDDEN = 24  # held-out videos in which attended places are hidden


def run_demo(
    out: Path,
    *,
    seeds: Sequence[int] = (0,),
    train_videos: int = 1536,
    test_videos: int = 192,
    epochs: int = BASE.epochs,
    say: Callable[[str], None] = print,
    progress: bool = True,
) -> Path:
    """Trains, tests, predicts, draws, and writes the report page; returns its path.

    Runs that are complete are not repeated: a demo that was stopped goes on.
    """
    began = time.perf_counter()
    videos = out / "videos"
    if not (videos / "videos.csv").exists():
        say(f"writing {train_videos + test_videos} videos to {videos}")
        write_longrange(videos, train=train_videos, test=test_videos)
    folder = read_folder(videos)
    rows: list[dict[str, Any]] = []
    for seed in seeds:
        for name, recipe in NETWORKS.items():
            run = out / "runs" / f"{name.lower().replace(', ', '-').replace(' ', '-')}-{seed}"
            say(f"\n{name}, seed {seed}")
            rows.append(
                _train_and_test(
                    name, folder, replace(recipe, seed=seed, epochs=epochs), run, say, progress
                )
            )
    return _report(out, rows, folder, time.perf_counter() - began)


def _train_and_test(
    name: str,
    folder: VideoFolder,
    recipe: SmallRecipe,
    run: Path,
    say: Callable[[str], None],
    progress: bool,
) -> dict[str, Any]:
    results_file = run / "results.json"
    if not results_file.exists():
        began = time.perf_counter()
        run_small(folder, recipe, run, say=say, progress=progress)
        seconds = time.perf_counter() - began
        trained = load(run)
        results = run_test(
            trained.model, trained.labels, folder.splits["test"], trained.clip, Protocol()
        )
        add_statistics(results)
        results["training_seconds"] = round(seconds, 1)
        write_atomically(results_file, json.dumps(results, indent=1).encode())
    results = json.loads(results_file.read_text(encoding="utf-8"))
    metric, accuracy = next(iter(results["metrics"].items()))
    say(f"{metric} {100 * accuracy:.1f} %, trained in {results['training_seconds']:.0f} s")
    parameters = sum(p.numel() for p in load(run).model.parameters())
    return {"name": name, "run": run, "parameters": parameters, "metric": metric} | results


def _report(out: Path, rows: list[dict[str, Any]], folder: VideoFolder, seconds: float) -> Path:
    pictures = out / "pictures"
    pictures.mkdir(exist_ok=True)
    first = rows[: len(NETWORKS)]
    nonlocal_run = first[-1]["run"]
    chance = 1 / len(folder.labels)
    draw_curves(
        {row["name"]: run_curve(row["run"]) for row in first if row["name"] != "C2D, wider"},
        pictures / "curves.png",
        chance=1 - chance,
        smooth=5,
    )
    guesses, arrows, links, evidence = _looks(nonlocal_run, out, folder, pictures)
    summary = _summary(rows)
    page = report_page(
        "Does a non-local block see what a C2D cannot?",
        INTRODUCTION,
        [
            Section(
                title="Ten-clip test",
                text=f"Share of {first[0]['protocol']['evaluated']} held-out videos named "
                f"right, by ten even clips of each (Sec. 4.1); a guess is {100 * chance:.0f} %.",
                table=summary,
            ),
            Section(
                title="Training",
                text="Top-1 error while training (Figure 4): dashed on the training clips, solid "
                "on one clip of each held-out video.",
                pictures=[
                    Picture(
                        path=pictures / "curves.png",
                        alt="Error curves: C2D's validation error stays at chance, NL C2D's falls",
                        plot=True,
                    )
                ],
            ),
            Section(
                title="Predictions of NL C2D on held-out videos",
                guesses=guesses,
            ),
            Section(
                title="Where it looked",
                text="From the shape that decides (the dot), arrows to the 20 places that make up "
                "its response (Figure 3); wider is more weight. This is what the block learnt to "
                "weigh, which need not be the pair that a person would join.\n\n" + evidence,
                links=links,
                pictures=arrows,
            ),
        ],
        footer=f"Made by `nonlocalnet demo` in {seconds / 60:.1f} minutes. "
        "Videos, runs and results.json files lie beside this page.",
    )
    report = out / "report.html"
    write_atomically(report, page.encode())
    return report


def _summary(rows: list[dict[str, Any]]) -> Table:
    lines = []
    for name in NETWORKS:
        mine = [row for row in rows if row["name"] == name]
        accuracies = [100 * row["metrics"][row["metric"]] for row in mine]
        seconds = np.mean([row["training_seconds"] for row in mine])
        lines.append(
            [
                name,
                f"{mine[0]['parameters']:,}",
                " / ".join(_with_interval(row) for row in mine),
                f"{np.mean(accuracies):.1f}",
                f"{seconds:.0f}",
            ]
        )
    return Table(
        header=[
            "network",
            "parameters",
            f"{rows[0]['metric']} per seed (95 % interval), %",
            "mean, %",
            "training, s",
        ],
        rows=lines,
        strong=[len(lines) - 1],
    )


def _with_interval(row: dict[str, Any]) -> str:
    low, high = row["intervals"][row["metric"]]
    value = row["metrics"][row["metric"]]
    return f"{100 * value:.1f} ({100 * low:.1f} to {100 * high:.1f})"


def _looks(
    run: Path, out: Path, folder: VideoFolder, pictures: Path
) -> tuple[list[Guess], list[Picture], list[tuple[str, str]], str]:
    """Guesses, arrows and explorers of some held-out videos; are the arrows of more evidence?"""
    classifier = load(run)
    with (out / "videos" / "places.csv").open(newline="", encoding="utf-8") as file:
        partners = {r["path"]: r for r in csv.DictReader(file) if r["role"] == "partner"}
    guesses, arrows, links, tried = [], [], [], []
    samples = folder.splits["test"]
    chosen = samples[:: max(1, len(samples) // HIDDEN)][:HIDDEN]
    for number, sample in enumerate(chosen):
        path, truth = sample.video.path, folder.labels[sample.label or 0]
        name = str(path.relative_to(out / "videos"))
        look = explain(classifier, path, _middle_of(partners[name]))
        tried.append(faithfulness(classifier, look.frames, look.look))
        if number % max(1, len(chosen) // SHOWN) or len(guesses) == SHOWN:
            continue
        prediction = classifier.predict(path)
        guesses.append(Guess(clip=name, truth=truth, scores=prediction.top(4)))
        picture = pictures / f"{path.stem}.png"
        draw_arrows(look.frames, look.looks, picture)
        arrows.append(
            Picture(
                path=picture,
                alt=f"Four frames of {name} with arrows from the {truth}",
                caption=f"{name}: {look.describe().split(': ', 1)[1]}.",
            )
        )
        page = out / "explorer" / f"{path.stem}.html"
        write_page(classifier, path, page, at=_middle_of(partners[name]), title=name)
        links.append((f"Explore {name}", str(page.relative_to(out))))
    gain, (low, high) = mean_gain(tried)
    evidence = (
        f"Are the arrows evidence? In {len(tried)} of these videos the {tried[0].places} places "
        "at the strongest arrows were painted over. That took "
        f"{100 * gain:.1f} points more of the score than painting over as many random places "
        f"(95 % interval {100 * low:.1f} to {100 * high:.1f})."
    )
    return guesses, arrows, links, evidence


def _middle_of(place: dict[str, str]) -> tuple[float, float, float]:
    """Seconds, x px and y px halfway along an object's straight path."""

    def middle(key: str) -> float:
        return (float(place[f"first{key}"]) + float(place[f"last{key}"])) / 2

    return middle("") / FPS, middle("_x"), middle("_y")
