"""What `nonlocalnet test` leaves beside results.json: tables and pictures of its content."""

import csv
import io
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nonlocalnet.data.folder import VideoFolder


def missing_videos(
    folder: VideoFolder, split: str, results: dict[str, Any]
) -> list[dict[str, Any]]:
    """Rows of the videos that were to be tested and were not: no file, or not to be read."""
    tested = {row["path"] for row in results["videos"]}
    lost = [sample for sample in folder.splits[split] if str(sample.video.path) not in tested]
    never = [*folder.missing[split], *(row for row, _ in folder.unreadable[split])]
    rows = [
        *((row.path, row.label, row.actions or ()) for row in never),
        *((s.video.path, folder.labels[s.label or 0], s.actions) for s in lost),
    ]
    if not folder.multi_label:
        return [{"path": str(path), "label": label} for path, label, _ in rows]
    return [
        {
            "path": str(path),
            "labels": [folder.labels[k] for k in sorted({action.label for action in actions})],
        }
        for path, _, actions in rows
    ]


def write_beside(out: Path, results: dict[str, Any]) -> list[Path]:
    """Writes per_class.csv, worst.png and, of one label per video, confusion.csv and .png.

    Where the results file is not called results.json its name goes before theirs. Without
    matplotlib there are tables only, and a sentence on stderr.
    """
    from nonlocalnet.data.optional import MissingLibrary, require
    from nonlocalnet.engine.perclass import confusion, per_class
    from nonlocalnet.engine.statistics import is_multi_label
    from nonlocalnet.files import write_atomically

    def beside(name: str) -> Path:
        return out.with_name(name if out.stem == "results" else f"{out.stem}_{name}")

    classes = per_class(results)
    tables = {"per_class.csv": [list(classes[0]), *(list(row.values()) for row in classes)]}
    if counts := None if is_multi_label(results) else confusion(results).tolist():
        rows = [[name, *row] for name, row in zip(results["labels"], counts, strict=True)]
        tables["confusion.csv"] = [["true \\ predicted", *results["labels"]], *rows]
    for name, table in tables.items():
        write_atomically(beside(name), _csv(table))
    written = [beside(name) for name in tables]
    try:
        require("matplotlib", "a picture", "viz")
    except MissingLibrary as lack:
        print(f"warning: {lack}", file=sys.stderr)
        return written
    if counts:
        from nonlocalnet.viz.confusion import draw_confusion

        draw_confusion(np.array(counts), results["labels"], beside("confusion.png"))
        written.append(beside("confusion.png"))
    _draw_worst(beside("worst.png"), results)
    return [*written, beside("worst.png")]


def _draw_worst(path: Path, results: dict[str, Any]) -> None:
    from nonlocalnet.engine.worst import glimpse, in_words, worst
    from nonlocalnet.viz.sheet import Tile, draw_sheet

    tiles = []
    for row in worst(results):
        file = results["videos"][row]["path"]
        text, right = in_words(results, row)
        tiles.append(Tile(name=file, text=text, right=right, frames=glimpse(file)))
    draw_sheet(tiles, path, title=f"The {len(tiles)} worst of {len(results['videos'])} videos")


def _csv(rows: Sequence[Sequence[Any]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()
