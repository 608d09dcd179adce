"""`nonlocalnet train DIR_OR_LIST`: labelled clips in, a run folder with a model out."""

import dataclasses
import json
import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nonlocalnet.recipes.config import Machine, SmallRecipe

if TYPE_CHECKING:
    from nonlocalnet.data.folder import VideoFolder

HELP = """Train a classifier on a folder with one folder of clips per class, or on a list of videos.

The run folder gets config.yaml, metrics.csv, last.ckpt, best.safetensors and TensorBoard logs.
Example: nonlocalnet train videos/ --out runs/mine
A row of the paper's tables instead (nonlocalnet recipes lists them; its options: --help):
nonlocalnet train --recipe nl5_i3d_r50 --data kinetics/"""


def add_arguments(parser) -> None:
    """Options of the command."""
    parser.add_argument("data", type=str, help="a folder or a list; docs/data.md shows them all")
    add_common(parser, "runs/latest")
    parser.add_class_arguments(SmallRecipe)


def add_common(parser, out: str) -> None:
    """Options of every training: data, run folder, machine."""
    parser.add_argument("--videos", type=str, help="where a list's videos are; default: beside it")
    parser.add_argument("--prepared", type=str, help="a cache made by nonlocalnet prepare")
    parser.add_argument("--reader", type=str, help="pyav, torchcodec or opencv; default: the first")
    parser.add_argument("--out", type=str, default=out, help="the run folder")
    parser.add_argument("--resume", action="store_true", help="go on from the run's last.ckpt")
    parser.add_argument("--json", action="store_true", help="print the outcome as JSON, no bars")
    parser.add_argument("--config", action="config", help="a YAML file with any of these options")
    parser.add_class_arguments(Machine)


def run(options) -> int:
    """Trains, and says where the model is and what it reached."""
    from nonlocalnet.recipes.small import run_small

    small = SmallRecipe(**{f.name: options[f.name] for f in dataclasses.fields(SmallRecipe)})
    folder, out, shared = prepare(options, options.data, small.seed)
    run_small(folder, small, out, **shared)
    return report(options, out)


def prepare(options, data: str, seed: int) -> tuple["VideoFolder", Path, dict[str, Any]]:
    """The opened data, the run folder, and what every training takes."""
    from nonlocalnet.cli.progress import progress_bar
    from nonlocalnet.data.folder import read_folder
    from nonlocalnet.recipes.begin import check_run_folder

    out = Path(options.out)
    check_run_folder(out, options.resume)
    with progress_bar("opening") as progress:
        folder = read_folder(
            data,
            seed,
            progress,
            videos=options.videos,
            reader=options.reader,
            prepared=options.prepared,
        )
    say = (lambda text: None) if options.json or os.environ.get("RANK", "0") != "0" else print
    for sentence in folder.bad:
        say(f"left out: {sentence}")
    for sentence in folder.warnings:
        say(f"warning: {sentence}")
    machine = Machine(**{f.name: options[f.name] for f in dataclasses.fields(Machine)})
    return folder, out, {"machine": machine, "say": say, "progress": not options.json}


def report(options, out: Path) -> int:
    """What the run reached, by its last validation."""
    from nonlocalnet.engine.logs import read_metrics

    if os.environ.get("RANK", "0") != "0":
        return 0
    rows = [row for row in read_metrics(out / "metrics.csv") if row["val_error"]]
    right = 1 - float(rows[-1]["val_error"]) if rows else None
    if options.json:
        print(json.dumps({"run": str(out), "validation": right}))
        return 0
    if right is not None:
        print(f"{100 * right:.1f} % at the last validation (top-1, or mAP of several labels)")
    given = {"--videos": options.videos, "--prepared": options.prepared, "--reader": options.reader}
    command = ["nonlocalnet", "test", str(out), "--data", options.data]
    command += [word for pair in given.items() if pair[1] for word in pair]
    print(f"test it as the paper does: {shlex.join(command)}")
    return 0
