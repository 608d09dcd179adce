"""Do small detectors learn the generated set on one CPU thread, with blocks and without?

    python benchmarks/detection_learning.py OUT                  # 4 recipes x 3 seeds
    python benchmarks/detection_learning.py OUT --recipes tiny_mask_rcnn --seeds 0
    python benchmarks/detection_learning.py OUT --table          # of the runs that are finished

With blocks and without by turns, a seed at a time, masks first. Every run goes on where it was
stopped, and a finished one is not repeated, so the table can be made in pieces. Minutes are of the
processor, training and its validations, the most of the seeds; of a run in pieces they are the
last piece's only, marked +.
"""

import argparse
import json
import time
from dataclasses import replace
from itertools import product
from pathlib import Path
from statistics import mean, stdev

import torch
from op import print_table

from nonlocalnet.data.coco import read_coco
from nonlocalnet.data.coco_shapes import write_shapes
from nonlocalnet.engine.detect import run_detector_test
from nonlocalnet.recipes.config import Machine
from nonlocalnet.recipes.detection import detection_recipe
from nonlocalnet.recipes.detection_run import run_detection

RECIPES = ("tiny_mask_rcnn", "nl1_tiny_mask_rcnn", "tiny_keypoint_rcnn", "nl5_tiny_keypoint_rcnn")
SHOWN = ("box_AP50", "box_AP", "mask_AP50", "mask_AP", "kp_AP50", "kp_AP75", "kp_AP")


def learn(name: str, seed: int, out: Path, data: Path, steps: int | None) -> dict[str, float]:
    """One run and its test; its figures, and minutes of the processor."""
    done = finished(name, seed, out)
    run = done.parent
    if done.exists():
        return json.loads(done.read_text())
    recipe = detection_recipe(name)
    plan = replace(recipe.train, seed=seed)
    if steps is not None:
        plan = replace(plan, steps=steps, validate_every=min(steps, plan.validate_every))
    recipe = replace(recipe, train=plan)
    train, val = (read_coco(data, split, recipe.model.task) for split in ("train2017", "val2017"))
    pieces = (run / "last.ckpt").exists()
    start = time.process_time()
    model = run_detection(recipe, train, val, run, machine=Machine(workers=0), progress=False)
    minutes = (time.process_time() - start) / 60
    metrics = run_detector_test(model, val, workers=0)[0]["metrics"]
    figures = {key.partition("@")[0]: value for key, value in metrics.items()}
    figures |= {"minutes": minutes, "pieces": pieces}
    done.write_text(json.dumps(figures))
    return figures


def finished(name: str, seed: int, out: Path) -> Path:
    """Where the figures of a run are once it is finished."""
    return out / f"{name}-{seed}" / "learnt.json"


def table(options: argparse.Namespace) -> None:
    """Means over the finished seeds, and how far they spread."""
    rows = []
    for name in options.recipes:
        files = [finished(name, seed, options.out) for seed in options.seeds]
        found = [json.loads(file.read_text()) for file in files if file.exists()]
        cells = []
        for key in SHOWN:
            values = [100 * figures[key] for figures in found if key in figures]
            spread = f" ± {stdev(values):.1f}" if len(values) > 1 else ""
            cells.append(f"{mean(values):.1f}{spread}" if values else "-")
        minutes = f"{max(figures['minutes'] for figures in found):.1f}" if found else "-"
        mark = "+" if any(figures["pieces"] for figures in found) else ""
        rows.append([name, f"{len(found)} of {len(files)}", *cells, minutes + mark])
    print_table(["recipe", "seeds", *SHOWN, "minutes"], rows)


def main(options: argparse.Namespace) -> None:
    torch.set_num_threads(1)
    data = options.out / "shapes"
    if not (data / "annotations" / "person_keypoints_val2017.json").exists():
        write_shapes(data, 2000, 200)
    for task in ("masks", "keypoints"):
        names = [name for name in options.recipes if detection_recipe(name).model.task == task]
        for seed, name in product(options.seeds, names):
            figures = learn(name, seed, options.out, data, options.steps)
            shown = {key: round(figures[key], 3) for key in SHOWN if key in figures}
            print(name, seed, shown, flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--recipes", nargs="+", default=RECIPES)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--steps", type=int, help="instead of the recipes'")
    parser.add_argument("--table", action="store_true", help="train nothing")
    options = parser.parse_args()
    if not options.table:
        main(options)
    table(options)
