"""`nonlocalnet prepare DIR`: videos resized once into a cache that reads quickly."""

import json
import shlex
from pathlib import Path

from nonlocalnet.data.prepare import Preparation

HELP = """Resize every good video of a folder once, into a cache for train --prepared.

Kept as raw frames (quickest, large) or as light H.264 (small). Checks the folder first, as
nonlocalnet check does. What an interrupted run has made is kept.
Example: nonlocalnet prepare videos/ --out cache/ --short-side 128"""


def add_arguments(parser) -> None:
    """Options of the command."""
    parser.add_argument("data", type=str, help="a folder of videos, or a list of them")
    parser.add_argument("--videos", type=str, help="where a list's paths start; default: beside it")
    parser.add_argument("--out", type=str, required=True, help="the cache, a folder")
    parser.add_argument("--reader", type=str, help="pyav, torchcodec or opencv; default: the first")
    parser.add_argument("--limit", type=float, default=600.0, help="seconds for one file")
    parser.add_argument("--workers", type=int, default=2, help="processes that decode")
    parser.add_argument("--json", action="store_true", help="machine-readable output")
    parser.add_class_arguments(Preparation)


def run(options) -> int:
    """Checks, prepares, and says what is there and what could not be."""
    from nonlocalnet.cli.progress import progress_bar
    from nonlocalnet.data.check import check
    from nonlocalnet.data.found import root_of, videos_under
    from nonlocalnet.data.prepare import check_preparation, prepare, prepared_videos

    root = root_of(Path(options.data), options.videos)
    how = Preparation(short_side=options.short_side, form=options.form)
    cache = Path(options.out)
    check_preparation(cache, how)  # before its manifest is written
    found = videos_under(Path(options.data), root)
    common = {"reader": options.reader, "limit_s": options.limit, "workers": options.workers}
    with progress_bar("checking") as progress:
        manifest = cache / "manifest.csv"
        rows = check(root, found.rates, manifest, rates=found.rates, **common, progress=progress)
    with progress_bar("preparing") as progress:
        faults = prepare(root, rows, cache, how, **common, progress=progress)
    faults |= {row.path: row.reason for row in rows if row.state != "ok"}
    files = set(prepared_videos(cache).values())
    size = sum(file.stat().st_size for file in files)
    if options.json:
        report = {"cache": str(cache), "videos": len(files), "bytes": size, "notes": found.notes}
        print(json.dumps(report | {"faults": faults}, indent=1))
        return 0
    for path, reason in faults.items():
        print(f"left out: {path}: {reason}")
    for note in found.notes:
        print(f"note: {note}")
    print(f"{len(files)} videos in {cache}, {size / 2**20:.0f} MiB")
    command = ["nonlocalnet", "train", options.data, "--prepared", str(cache)]
    command += ["--videos", options.videos] if options.videos else []
    print(f"train from it: {shlex.join(command)}")
    return 0
