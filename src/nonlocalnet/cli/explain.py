"""`nonlocalnet explain`: Figure 3 for one position of one video."""

import json
from pathlib import Path

HELP = """Draw the 20 places a position attends to most, as arrows over 4 frames (Figure 3).

Example: nonlocalnet explain clip.mp4 --model runs/mine --at 1.5,160,120 --out arrows.png"""


def add_arguments(parser) -> None:
    """Options of the command."""
    parser.add_argument("file", type=str, help="a video")
    parser.add_argument("--model", type=str, required=True, help="a run folder or a model file")
    parser.add_argument(
        "--at", type=str, help="t,x,y: seconds and px in the video; default: its middle"
    )
    parser.add_argument("--block", type=str, help="a non-local block by name; default: in res3")
    parser.add_argument("--top", type=int, default=20, help="arrows")
    parser.add_argument("--reader", type=str, help="pyav, torchcodec or opencv; default: the first")
    parser.add_argument("--out", type=str, default="explain.png", help="the picture")
    parser.add_argument("--json", action="store_true", help="print the arrows as JSON")


def run(options) -> int:
    """Writes the picture and says what is on it."""
    from nonlocalnet.engine.classifier import load
    from nonlocalnet.engine.explain import explain
    from nonlocalnet.viz.arrows import draw_arrows

    at = None
    if options.at is not None:
        try:
            t, x, y = (float(part) for part in options.at.split(","))
        except ValueError:
            raise ValueError(
                f"--at takes t,x,y (seconds, px, px), for example 1.5,160,120; got {options.at!r}"
            ) from None
        at = (t, x, y)
    explanation = explain(
        load(options.model),
        options.file,
        at=at,
        block=options.block,
        top=options.top,
        reader=options.reader,
    )
    draw_arrows(explanation.frames, explanation.look, Path(options.out))
    if options.json:
        print(json.dumps(explanation.as_dict()))
        return 0
    print(f"{explanation.describe()}; written to {options.out}")
    return 0
