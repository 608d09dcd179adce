"""`nonlocalnet train DIR_OR_LIST`: labelled clips in, a run folder with a model out."""

import dataclasses
import json
from pathlib import Path

from nonlocalnet.recipes.config import SmallRecipe

HELP = """Train a classifier on a folder with one folder of clips per class, or on a list of videos.

The run folder gets config.yaml, metrics.csv, last.ckpt, best.safetensors and TensorBoard logs.
Example: nonlocalnet train videos/ --out runs/mine"""


def add_arguments(parser) -> None:
    """Options of the command."""
    parser.add_argument("data", type=str, help="a folder or a list; docs/data.md shows them all")
    parser.add_argument("--videos", type=str, help="where a list's videos are; default: beside it")
    parser.add_argument("--prepared", type=str, help="a cache made by nonlocalnet prepare")
    parser.add_argument("--reader", type=str, help="pyav, torchcodec or opencv; default: the first")
    parser.add_argument("--out", type=str, default="runs/latest", help="the run folder")
    parser.add_argument("--resume", action="store_true", help="go on from the run's last.ckpt")
    parser.add_argument("--workers", type=int, default=1, help="processes that decode")
    parser.add_argument("--json", action="store_true", help="print the outcome as JSON, no bars")
    parser.add_argument("--config", action="config", help="a YAML file with any of these options")
    parser.add_class_arguments(SmallRecipe)


def run(options) -> int:
    """Trains, and says where the model is and what it reached."""
    from nonlocalnet.cli.progress import progress_bar
    from nonlocalnet.data.folder import read_folder
    from nonlocalnet.engine.logs import read_metrics
    from nonlocalnet.recipes.small import run_small

    out = Path(options.out)
    if (out / "last.ckpt").exists() and not options.resume:
        raise ValueError(
            f"{out} already holds a run; go on with --resume, or choose another folder with --out"
        )
    recipe = SmallRecipe(**{f.name: options[f.name] for f in dataclasses.fields(SmallRecipe)})
    with progress_bar("opening") as progress:
        folder = read_folder(
            options.data,
            recipe.seed,
            progress,
            videos=options.videos,
            reader=options.reader,
            prepared=options.prepared,
        )
    say = (lambda text: None) if options.json else print
    for sentence in folder.bad:
        say(f"left out: {sentence}")
    for sentence in folder.warnings:
        say(f"warning: {sentence}")
    run_small(folder, recipe, out, workers=options.workers, say=say, progress=not options.json)
    last = [row for row in read_metrics(out / "metrics.csv") if row["val_error"]][-1]
    accuracy = 1 - float(last["val_error"])
    if options.json:
        print(json.dumps({"run": str(out), "top1_one_clip": accuracy}))
    else:
        print(f"one clip per video: {100 * accuracy:.1f} % right at the end of training")
        print(f"test it as the paper does: nonlocalnet test {out} --data {options.data}")
    return 0
