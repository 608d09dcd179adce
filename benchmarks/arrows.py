"""Does the strongest arrow land on the partner? On generated sets of a cue and its partner.

    python benchmarks/arrows.py OUT --seeds 0 1 2
    nonlocalnet demo --out demo
    python benchmarks/arrows.py demo/runs/nl-c2d-0 demo/videos

The first writes the set of pairs (`data.generated`), teaches a C2D to name the two things of
its videos, as the paper starts from networks that know images, inserts a block and trains it on
the label. The second measures a run that is there.

For every held-out video that the network names right, from the middle of the cue and from that of
its partner: where does the strongest arrow of the block land? On a thing: in a frame that shows it,
in the feature cell (8 px) of its centre; within one cell: in that cell or beside it. Keys that are
pooled lie between cells; then it is the cells that they hold.
"""

import argparse
import csv
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np

from nonlocalnet.data.folder import Sample, read_folder
from nonlocalnet.data.generated import write_pairs
from nonlocalnet.data.longrange import FPS
from nonlocalnet.engine.cells import cell_maps
from nonlocalnet.engine.classifier import load
from nonlocalnet.engine.explain import explain
from nonlocalnet.recipes.demo import NETWORKS
from nonlocalnet.recipes.run import run
from nonlocalnet.recipes.small import run_small, small_recipe

ROLES = {"cue": "partner", "partner": "cue"}


def centre(thing: dict[str, str], frame: float) -> tuple[float, float] | None:
    """(y, x) px of a thing of places.csv in a frame, if it is there."""
    first, last = float(thing["first"]), float(thing["last"])
    if not first <= frame <= last:
        return None
    share = (frame - first) / max(last - first, 1)
    ends = [(float(thing[f"first_{a}"]), float(thing[f"last_{a}"])) for a in "yx"]
    (y, x) = (begin + share * (end - begin) for begin, end in ends)
    return y, x


def listed_places(videos: Path) -> dict[str, dict[str, dict[str, str]]]:
    """The rows of places.csv by path and role."""
    places = defaultdict(dict)
    with (videos / "places.csv").open(newline="", encoding="utf-8") as lines:
        for row in csv.DictReader(lines):
            places[row["path"]][row["role"]] = row
    return places


def measure(run: Path, videos: Path, most: int) -> None:
    """Prints, for the block of a run, where its strongest arrows land."""
    classifier = load(run)
    folder = read_folder(videos)
    places = listed_places(videos)
    landed: dict[tuple[str, str, int], list[bool]] = defaultdict(list)
    heaviest: dict[str, list[float]] = defaultdict(list)
    right, block = 0, ""
    samples = folder.splits["test"][:most]
    for sample in samples:
        path = sample.video.path
        if classifier.predict(path).top(1)[0][0] != folder.labels[sample.label]:
            continue
        right += 1
        things = places[str(path.relative_to(videos))]
        for role in ROLES:
            frame = (float(things[role]["first"]) + float(things[role]["last"])) / 2
            y, x = centre(things[role], frame)
            found = explain(classifier, path, (frame / FPS, x, y))
            block = found.look.block
            cells = cell_maps(classifier.model)[block]
            t, x, y = found.to_video(found.look.keys[0])
            key = (np.array((y, x)) - cells.offset[1:]) / cells.stride[1:]
            heaviest[role].append(float(found.look.weights[0]))
            for name, thing in things.items():
                at = centre(thing, t * FPS)
                off = np.inf
                if at is not None:
                    its = np.rint((np.array(at) - cells.offset[1:]) / cells.stride[1:])
                    off = np.abs(key - its).max()
                for most_off in (0, 1):
                    landed[role, name, most_off].append(off <= most_off + 0.5)
    print(f"{run}: {right} of {len(samples)} videos named right; block {block}")
    print("from     lands in the cell of: partner  cue      within one cell: partner  cue  weight")
    for role in ROLES:
        shares = [np.mean(landed[role, name, n]) for n in (0, 1) for name in ("partner", "cue")]
        one, two, three, four = (f"{100 * share:5.1f} %" for share in shares)
        weight = np.mean(heaviest[role])
        print(f"{role:8} {'':23} {one} {two} {'':10} {three} {four}   {weight:.2f}")


def train(out: Path, videos: Path, seed: int, pooled: int) -> Path:
    """A C2D that names both things, then a block in it that brings them together; its run."""
    folder = read_folder(videos)
    things = {
        path: " ".join(f"{thing['hue']} {thing['shape']}" for thing in both.values())
        for path, both in listed_places(videos).items()
    }
    names = sorted(set(things.values()))

    def named(sample: Sample) -> Sample:
        path = str(sample.video.path.relative_to(videos))
        return replace(sample, label=names.index(things[path]))

    shown = {split: [named(s) for s in samples] for split, samples in folder.splits.items()}
    first = out / f"names-{seed}"
    small = replace(NETWORKS["C2D"], seed=seed)
    run_small(replace(folder, labels=names, splits=shown), small, first, progress=False)
    second = out / f"pairs-{seed}"
    small = replace(small, model="nl1_c2d_tiny", init=str(first.resolve()), lr=0.003, scale=1.0)
    recipe = small_recipe(folder, small, second)
    model = replace(recipe.model, more={**recipe.model.more, "subsample": pooled})
    run(replace(recipe, model=model), folder, second, progress=False)
    return second


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("run", type=Path, help="a run, or where to put the set and its runs")
    parser.add_argument("videos", type=Path, nargs="?", help="the videos of that run")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--pooled", type=int, default=1, help="cells of a key in y and in x")
    parser.add_argument("--most", type=int, default=200, help="videos")
    options = parser.parse_args()
    if options.videos:
        measure(options.run, options.videos, options.most)
        return
    videos = options.run / "videos"
    if not (videos / "videos.csv").exists():
        write_pairs(videos)
    for seed in options.seeds:
        measure(train(options.run, videos, seed, options.pooled), videos, options.most)


if __name__ == "__main__":
    main()
