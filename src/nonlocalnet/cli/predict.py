"""`nonlocalnet predict`: labels of one video or of every video in a folder."""

import json
import sys
from pathlib import Path
from typing import Literal

HELP = """Name what happens in one video, or in every video of a folder.

Scores sum to 1; those of a model trained on several labels per video are from 0 to 1 each.

Example: nonlocalnet predict clip.mp4 --model runs/mine"""


def add_arguments(parser) -> None:
    """Options of the command."""
    parser.add_argument("file", type=str, help="a video, or a folder of videos")
    parser.add_argument("--model", type=str, required=True, help="a run folder or a model file")
    parser.add_argument("--views", type=str, default="10x1", help="CLIPSxCROPS, see test")
    parser.add_argument("--combine", type=Literal["mean", "max"], help="of the views, see test")
    parser.add_argument("--reader", type=str, help="pyav, torchcodec or opencv; default: the first")
    parser.add_argument("--top", type=int, default=5, help="labels per video")
    parser.add_argument("--json", action="store_true", help="machine-readable output")


def run(options) -> int:
    """Prints one block per video; unreadable ones go to stderr and make the exit code 2."""
    from nonlocalnet.data.listed import SUFFIXES
    from nonlocalnet.data.video import BadVideo
    from nonlocalnet.engine.classifier import load

    if options.top < 1:
        raise ValueError(f"--top must be 1 label or more, got {options.top}")
    path = Path(options.file)
    if not path.exists():
        raise ValueError(f"{path}: no such file or folder; check the path")
    files = [path]
    if path.is_dir():
        files = sorted(p for p in path.rglob("*") if p.suffix.lower() in SUFFIXES)
        if not files:
            raise ValueError(f"{path}: no video in this folder; give a file or a folder of videos")
    classifier = load(options.model)
    rows, bad = [], 0
    for file in files:
        try:
            prediction = classifier.predict(
                file, options.views, options.combine, reader=options.reader
            )
        except BadVideo as error:
            bad += 1
            print(f"nonlocalnet: {error}", file=sys.stderr)
            continue
        top = prediction.top(options.top)
        rows.append({"path": str(file), "top": [{"label": n, "score": s} for n, s in top]})
        if not options.json:
            print(file)
            for name, score in top:
                print(f"  {100 * score:5.1f} %  {name}")
    if options.json:
        print(json.dumps(rows, indent=1))
    return 2 if bad else 0
