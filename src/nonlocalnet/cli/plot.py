"""`nonlocalnet plot RUN...`: Figure 4, the errors of runs while they trained."""

import json
from pathlib import Path

HELP = """Draw the errors of one or more runs over their training steps, as in Figure 4.

Dashed: training. Solid: validation. Of several labels per video the error is 1 - mAP.
Example: nonlocalnet plot runs/c2d_r50 runs/nl5_c2d_r50 --out figure4.png"""


def add_arguments(parser) -> None:
    """Options of the command."""
    parser.add_argument("runs", type=str, nargs="+", help="run folders; also while they train")
    parser.add_argument("--out", type=str, default="curves.png", help="PNG, SVG or PDF")
    parser.add_argument(
        "--smooth", type=int, default=5, help="logged training errors to average over"
    )
    parser.add_argument("--json", action="store_true", help="print the points as JSON")


def run(options) -> int:
    """Draws, and prints the last errors of each run."""
    from dataclasses import asdict

    from nonlocalnet.recipes.curves import run_curve
    from nonlocalnet.viz.curves import draw_curves

    if options.smooth < 1:
        raise ValueError(f"--smooth must be 1 or more, got {options.smooth}")
    names = [Path(name).name or name for name in options.runs]
    if len(set(names)) < len(names):
        names = options.runs
    curves = {name: run_curve(Path(run)) for name, run in zip(names, options.runs, strict=True)}
    draw_curves(curves, options.out, smooth=options.smooth)
    if options.json:
        print(json.dumps({name: asdict(curve) for name, curve in curves.items()}))
        return 0
    for name, curve in curves.items():
        last = f"{100 * curve.val_error[-1]:.1f} %" if curve.val_error else "none yet"
        print(f"{name}: validation error {last}")
    print(f"written to {options.out}")
    return 0
