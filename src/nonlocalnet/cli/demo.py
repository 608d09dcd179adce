"""`nonlocalnet demo`: the whole job on generated videos, in minutes, on a CPU."""

import json
from pathlib import Path

HELP = """Train C2D and NL C2D on generated videos, test, predict, draw, and write a report page.

Example: nonlocalnet demo --out demo"""


def add_arguments(parser) -> None:
    """Options of the command."""
    parser.add_argument("--out", type=str, default="demo", help="the folder for everything")
    parser.add_argument("--seeds", type=int, default=1, help="repeat with seeds 0 .. SEEDS - 1")
    parser.add_argument("--json", action="store_true", help="print the outcome as JSON, no bars")


def run(options) -> int:
    """Runs what is not there yet and says where the report is."""
    from nonlocalnet.recipes.demo import run_demo

    if options.seeds < 1:
        raise ValueError(f"--seeds must be 1 or more, got {options.seeds}")
    report = run_demo(
        Path(options.out),
        seeds=range(options.seeds),
        say=(lambda text: None) if options.json else print,
        progress=not options.json,
    )
    print(json.dumps({"report": str(report)}) if options.json else f"\nreport: {report}")
    return 0
