"""Does the strongest arrow land on the partner? On a generated long-range set and a network of it.

    nonlocalnet demo --out demo
    python benchmarks/arrows.py demo/runs/nl-c2d-0 demo/videos

For every held-out video that the network names right, from the middle of the cue and from that of
its partner (the shape in its hue): where does the strongest arrow of the block land? Within a cell:
at most a feature cell (8 px) from the thing's centre in y and in x, in a frame that shows it; a key
holds two by two cells, so twice that is counted too.
"""

import argparse
import csv
from collections import defaultdict
from pathlib import Path

import numpy as np

from nonlocalnet.data.folder import read_folder
from nonlocalnet.data.longrange import FPS
from nonlocalnet.engine.cells import cell_maps
from nonlocalnet.engine.classifier import load
from nonlocalnet.engine.explain import explain

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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("videos", type=Path)
    parser.add_argument("--most", type=int, default=200, help="videos")
    options = parser.parse_args()
    classifier = load(options.run)
    folder = read_folder(options.videos)
    with (options.videos / "places.csv").open(newline="", encoding="utf-8") as lines:
        places = defaultdict(dict)
        for row in csv.DictReader(lines):
            places[row["path"]][row["role"]] = row
    landed: dict[tuple[str, str, int], list[bool]] = defaultdict(list)
    heaviest: dict[str, list[float]] = defaultdict(list)
    right, block, cell = 0, "", 8.0
    samples = folder.splits["test"][: options.most]
    for sample in samples:
        path = sample.video.path
        if classifier.predict(path).top(1)[0][0] != folder.labels[sample.label]:
            continue
        right += 1
        things = places[str(path.relative_to(options.videos))]
        for role in ROLES:
            frame = (float(things[role]["first"]) + float(things[role]["last"])) / 2
            y, x = centre(things[role], frame)
            found = explain(classifier, path, (frame / FPS, x, y))
            block = found.look.block
            cell = cell_maps(classifier.model)[block].stride[1]
            t, x, y = found.to_video(found.look.keys[0])
            heaviest[role].append(float(found.look.weights[0]))
            for name, thing in things.items():
                at = centre(thing, t * FPS)
                off = np.inf if at is None else max(abs(y - at[0]), abs(x - at[1]))
                for cells in (1, 2):
                    landed[role, name, cells].append(off <= cells * cell)
    print(f"{options.run}: {right} of {len(samples)} videos named right; block {block}")
    print("from     lands within a cell of: partner  cue     two cells: partner  cue   weight")
    for role in ROLES:
        shares = [np.mean(landed[role, name, n]) for n in (1, 2) for name in ("partner", "cue")]
        one, two, three, four = (f"{100 * share:5.1f} %" for share in shares)
        weight = np.mean(heaviest[role])
        print(f"{role:8} {'':23} {one} {two} {'':10} {three} {four}   {weight:.2f}")


if __name__ == "__main__":
    main()
