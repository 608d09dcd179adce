"""`nonlocalnet detect train DIR --recipe NAME`: a detector by a recipe."""

import dataclasses
import json
import os
from pathlib import Path

from nonlocalnet.recipes.config import Machine
from nonlocalnet.recipes.detection import (
    RECIPES,
    DetectionPlan,
    DetectorConfig,
    detection_recipe,
)

DEFAULT = "nl1_mask_rcnn_r50"
HELP = f"""Train a detector by a recipe, on data in COCO's layout.

Recipes: {", ".join(RECIPES)}.

The options below are those of the chosen recipe. All but the tiny ones begin with ImageNet weights
from a file (--init): Detectron's R-50.pkl, R-101.pkl or X-152-32x8d-IN5k.pkl, or torchvision's with
--model.imagenet torchvision; a whole detector of torchvision or of ours will do as well.

Example: nonlocalnet detect train coco/ --recipe nl1_mask_rcnn_r50 --init R-50.pkl"""


def add_arguments(parser, name: str | None = None) -> None:
    """Options of the command; their defaults are the recipe's.

    Raises:
        ValueError: No recipe has this name.
    """
    recipe = detection_recipe(name or DEFAULT)
    parser.add_argument("data", type=str, help="the folder with annotations/ and images")
    parser.add_argument("--recipe", type=str, required=True, help="one of those above")
    parser.add_argument("--init", type=str, default="", help="a file of first weights")
    parser.add_argument("--train_split", type=str, default="train2017", help="as in file names")
    parser.add_argument("--val_split", type=str, default="val2017", help="as in file names")
    parser.add_argument("--batch", type=int, help="images per process and forward pass")
    parser.add_argument("--out", type=str, default=f"runs/{recipe.name}", help="the run folder")
    parser.add_argument("--resume", action="store_true", help="go on from the run's last.ckpt")
    parser.add_argument("--json", action="store_true", help="print the outcome as JSON, no bars")
    parser.add_argument("--config", action="config", help="a YAML file with any of these options")
    parser.add_class_arguments(Machine)
    for group, kind in (("model", DetectorConfig), ("train", DetectionPlan)):
        parser.add_class_arguments(kind, group)
        values = dataclasses.asdict(getattr(recipe, group))
        parser.set_defaults({f"{group}.{key}": value for key, value in values.items()})


def run(options) -> int:
    """Trains, and says where the model is and what it reached."""
    from nonlocalnet.data.coco import read_coco
    from nonlocalnet.engine.logs import read_metrics
    from nonlocalnet.recipes.begin import check_run_folder
    from nonlocalnet.recipes.detection_run import run_detection

    out = Path(options.out)
    check_run_folder(out, options.resume)
    recipe = dataclasses.replace(
        detection_recipe(options.recipe), model=options.model, train=options.train
    )
    splits = [options.train_split, options.val_split]
    train, val = (read_coco(options.data, split, recipe.model.task) for split in splits)
    first = os.environ.get("RANK", "0") == "0"
    say = print if first and not options.json else lambda text: None
    for note in (*train.notes, *val.notes):
        say(note)
    run_detection(
        recipe,
        train,
        val,
        out,
        machine=Machine(**{f.name: options[f.name] for f in dataclasses.fields(Machine)}),
        batch=options.batch,
        init=options.init,
        say=say,
        progress=not options.json,
    )
    if not first:
        return 0
    rows = [row for row in read_metrics(out / "metrics.csv") if row["val_box_AP"]]
    names = [name for name in (rows[-1] if rows else {}) if name.startswith("val_")]
    reached = {name.removeprefix("val_"): float(rows[-1][name]) for name in names if rows[-1][name]}
    if options.json:
        print(json.dumps({"run": str(out), "validation": reached}))
        return 0
    for name, value in reached.items():
        print(f"{100 * value:5.1f}  {name}")
    print(f"all columns: nonlocalnet detect test {out} --data {options.data}")
    return 0
