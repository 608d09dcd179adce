"""`nonlocalnet predict`: labels of one video or of many."""

import csv
import json
import sys
from pathlib import Path
from typing import Literal

HELP = """Name what happens in videos: files, folders of them, folders of frames, .npy arrays.

Scores sum to 1; those of a model trained on several labels per video are from 0 to 1 each.

Example: nonlocalnet predict clip.mp4 --model runs/mine"""


def add_arguments(parser) -> None:
    """Options of the command."""
    parser.add_argument(
        "files", type=str, nargs="+", help="videos, .npy files, folders of frames, folders of these"
    )
    parser.add_argument("--model", type=str, required=True, help="a run folder or a model file")
    parser.add_argument("--views", type=str, help="CLIPSxCROPS, see test")
    parser.add_argument("--combine", type=Literal["mean", "max"], help="of the views, see test")
    parser.add_argument("--reader", type=str, help="pyav, torchcodec or opencv; default: the first")
    parser.add_argument("--fps", type=float, default=30.0, help="of folders of frames and arrays")
    parser.add_argument(
        "--optimize", action="store_true", help="fold the network for inference: equal to 1e-4"
    )
    parser.add_argument(
        "--runtime",
        type=Literal["torch", "onnx"],
        default="torch",
        help="what runs the network; onnx: --model may be a file made by nonlocalnet export, too",
    )
    parser.add_argument("--top", type=int, default=5, help="labels per video")
    parser.add_argument("--json", action="store_true", help="machine-readable output")
    parser.add_argument("--csv", action="store_true", help="rows of path, rank, label, score")


def run(options) -> int:
    """Prints one block per video; unreadable ones go to stderr and make the exit code 2."""
    from nonlocalnet.cli.progress import progress_bar
    from nonlocalnet.data.found import heap_of
    from nonlocalnet.data.video import BadVideo

    if options.top < 1:
        raise ValueError(f"--top must be 1 label or more, got {options.top}")
    if options.json and options.csv:
        raise ValueError("--json and --csv are two forms of one answer; choose one")
    files = [file for source in options.files for file in heap_of(Path(source))]
    classifier = _classifier(options)
    rows, bad = [], 0
    table = csv.writer(sys.stdout, lineterminator="\n")
    if options.csv:
        table.writerow(["path", "rank", "label", "score"])
    with progress_bar("predicting") as progress:
        for done, file in enumerate(files):
            progress(done, len(files))
            try:
                prediction = classifier.predict(
                    file,
                    options.views,
                    options.combine,
                    reader=options.reader,
                    fps=options.fps,
                )
            except BadVideo as error:
                bad += 1
                print(f"nonlocalnet: {error}", file=sys.stderr)
                continue
            top = prediction.top(options.top)
            if options.json:
                best = [{"label": name, "score": score} for name, score in top]
                rows.append({"path": str(file), "top": best})
            elif options.csv:
                table.writerows([file, k, *pair] for k, pair in enumerate(top, start=1))
            else:
                print(file)
                for name, score in top:
                    print(f"  {100 * score:5.1f} %  {name}")
    if options.json:
        print(json.dumps(rows, indent=1))
    return 2 if bad else 0


def _classifier(options):
    """The model in the form and the runtime that were asked for."""
    from dataclasses import replace

    from nonlocalnet.engine.classifier import load

    if options.runtime == "torch":
        classifier = load(options.model)
        if options.optimize:
            from nonlocalnet.models.optimize import optimize

            return replace(classifier, model=optimize(classifier.model))
        return classifier
    if options.optimize:
        raise ValueError("--optimize is for --runtime torch; ONNX files are folded already")
    from nonlocalnet.engine.onnx_runtime import in_onnx, load_onnx

    if Path(options.model).suffix == ".onnx":
        return load_onnx(options.model)
    return in_onnx(load(options.model))
