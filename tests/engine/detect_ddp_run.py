"""Trains a small detector a few steps and tests it: DATA OUT ACCUMULATE."""

import json
import sys
from dataclasses import replace
from pathlib import Path

from nonlocalnet.data.coco import read_coco
from nonlocalnet.engine.detect import run_detector_test
from nonlocalnet.engine.processes import place
from nonlocalnet.recipes.config import Machine
from nonlocalnet.recipes.detection import detection_recipe
from nonlocalnet.recipes.detection_run import run_detection

if __name__ == "__main__":
    data, out, accumulate = sys.argv[1:]
    recipe = detection_recipe("nl1_tiny_mask_rcnn")
    plan = replace(
        recipe.train, steps=4, batch=4, warmup=1, lr=1e-3, optimizer="sgd", validate_every=4
    )
    model = replace(recipe.model, more={"box_score_thresh": 0.0})
    val = read_coco(data, "val2017")
    trained = run_detection(
        replace(recipe, train=plan, model=model),
        read_coco(data, "train2017"),
        val,
        Path(out),
        machine=Machine(workers=0, accumulate=int(accumulate)),
        progress=False,
    )
    results, lists = run_detector_test(trained, val, workers=0)
    if place()[0] == 0:
        results["scores"] = {kind: [e["score"] for e in entries] for kind, entries in lists.items()}
        (Path(out) / "tested.json").write_text(json.dumps(results))
