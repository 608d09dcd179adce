"""Trains a small detector a few steps: DATA OUT ACCUMULATE."""

import sys
from dataclasses import replace
from pathlib import Path

from nonlocalnet.data.coco import read_coco
from nonlocalnet.recipes.config import Machine
from nonlocalnet.recipes.detection import detection_recipe
from nonlocalnet.recipes.detection_run import run_detection

if __name__ == "__main__":
    data, out, accumulate = sys.argv[1:]
    recipe = detection_recipe("nl1_tiny_mask_rcnn")
    plan = replace(
        recipe.train, steps=4, batch=4, warmup=1, lr=1e-3, optimizer="sgd", validate_every=4
    )
    run_detection(
        replace(recipe, train=plan),
        read_coco(data, "train2017"),
        read_coco(data, "val2017"),
        Path(out),
        machine=Machine(workers=0, accumulate=int(accumulate)),
        progress=False,
    )
