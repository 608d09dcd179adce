"""`nonlocalnet check DIR`: what is wrong with which video, written into a manifest."""

import dataclasses
import json
from collections import Counter
from pathlib import Path

HELP = """Decode every video under a folder once and write the manifest that training reads.

States: ok, truncated, no video stream, too short, missing, unreadable. A file that hangs or crashes
the decoder is stopped and recorded. Run again after an interruption or a change: only new, changed
and bad files are opened.
Example: nonlocalnet check videos/"""


def add_arguments(parser) -> None:
    """Options of the command."""
    parser.add_argument("data", type=str, help="a folder of videos, or a list of them")
    parser.add_argument("--videos", type=str, help="where a list's paths start; default: beside it")
    parser.add_argument("--out", type=str, help="the manifest; default: manifest.csv in the folder")
    parser.add_argument("--reader", type=str, help="pyav, torchcodec or opencv; default: the first")
    parser.add_argument("--min_frames", type=int, default=8, help="fewer is too short")
    parser.add_argument("--limit", type=float, default=60.0, help="seconds for one file")
    parser.add_argument("--workers", type=int, default=2, help="processes that decode")
    parser.add_argument("--json", action="store_true", help="machine-readable output")


def run(options) -> int:
    """Names the videos that are not ok, warns of what ails the set, counts the states."""
    from nonlocalnet.cli.progress import progress_bar
    from nonlocalnet.data.check import STATES, check
    from nonlocalnet.data.found import root_of, videos_under

    root = root_of(Path(options.data), options.videos)
    found = videos_under(Path(options.data), root)
    manifest = Path(options.out) if options.out else root / "manifest.csv"
    with progress_bar("checking") as progress:
        rows = check(
            root,
            found.rates,
            manifest,
            rates=found.rates,
            reader=options.reader,
            min_frames=options.min_frames,
            limit_s=options.limit,
            workers=options.workers,
            progress=progress,
        )
    counts = Counter(row.state for row in rows)
    bad = [row for row in rows if row.state != "ok"]
    warnings = found.audit({row.path for row in rows if row.state == "ok"}, root)
    if options.json:
        report = {
            "manifest": str(manifest),
            "states": dict(counts),
            "notes": found.notes,
            "warnings": warnings,
            "bad": [dataclasses.asdict(row) for row in bad],
        }
        print(json.dumps(report, indent=1))
        return 0
    for row in bad:
        print(f"{row.path}: {row.state}, {row.reason}")
    for note in found.notes:
        print(f"note: {note}")
    for sentence in warnings:
        print(f"warning: {sentence}")
    print(", ".join(f"{counts[state]} {state}" for state in STATES if counts[state]))
    print(f"manifest: {manifest}")
    return 0
