"""`nonlocalnet features`: a vector for each moment of each video, with its times."""

import csv
import io
import json
import sys
from pathlib import Path

HELP = """Write what the classifier sees of each sliding window of each video, with its times.

For every video OUT/NAME.npz holds `vectors` (windows, channels), `start` and `end` in seconds and
`layer`; OUT/features.csv says which row of which file is which moment. A video of N frames and
windows of S frames, K apart, has 1 + ceil(max(N - S, 0) / K) rows. Run again after an interruption
or a change: files that still hold are kept.

Example: nonlocalnet features videos/ --model runs/mine --window 2 --every 1 --out features/"""


def add_arguments(parser) -> None:
    """Options of the command."""
    from nonlocalnet.cli.timeline import add_window_arguments

    parser.add_argument("data", type=str, help="a folder of videos, or one video")
    parser.add_argument("--model", type=str, required=True, help="a run folder or a model file")
    parser.add_argument("--out", type=str, default="features", help="the folder to write")
    add_window_arguments(parser)
    parser.add_argument("--json", action="store_true", help="machine-readable output")


def run(options) -> int:
    """Writes what is not there yet; unreadable videos go to stderr and make the exit code 2."""
    import numpy as np

    from nonlocalnet.cli.progress import progress_bar
    from nonlocalnet.data.found import heap_of
    from nonlocalnet.data.video import BadVideo
    from nonlocalnet.engine.classifier import load
    from nonlocalnet.engine.features import features, settings_key
    from nonlocalnet.files import write_atomically

    root, out = Path(options.data), Path(options.out)
    files = heap_of(root)
    base = root if root.is_dir() and files != [root] else root.parent
    classifier = load(options.model)
    rows: list[list] = []
    kept = bad = 0
    with progress_bar("looking") as progress:
        for done, file in enumerate(files):
            progress(done, len(files))
            name = f"{file.relative_to(base)}.npz"
            how = (options.window, options.every, options.reader, options.fps)
            key = settings_key(classifier, file, *how)
            times = _times(out / name, key)
            if times is None:
                try:
                    found = features(
                        classifier,
                        file,
                        window=options.window,
                        every=options.every,
                        reader=options.reader,
                        fps=options.fps,
                    )
                except BadVideo as error:
                    bad += 1
                    print(f"nonlocalnet: {error}", file=sys.stderr)
                    continue
                content = io.BytesIO()
                np.savez(
                    content,
                    vectors=found.vectors,
                    start=found.start,
                    end=found.end,
                    layer=found.layer,
                    key=key,
                )
                write_atomically(out / name, content.getvalue())
                times = found.start, found.end
            else:
                kept += 1
            rows += [
                [str(file), name, row, round(float(a), 3), round(float(b), 3)]
                for row, (a, b) in enumerate(zip(*times, strict=True))
            ]
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([["video", "file", "row", "start", "end"]])
    csv.writer(text, lineterminator="\n").writerows(rows)
    write_atomically(out / "features.csv", text.getvalue().encode(errors="surrogateescape"))
    counts = {"videos": len(files) - bad, "kept": kept, "unreadable": bad, "rows": len(rows)}
    if options.json:
        print(json.dumps({"out": str(out), **counts}))
    else:
        print(
            f"{counts['videos']} videos ({kept} were there already), {len(rows)} rows in {out}; "
            f"which is which: {out / 'features.csv'}"
        )
    return 2 if bad else 0


def _times(file: Path, key: str):
    """Start and end of each row of a file of these settings; None where it has to be written."""
    from zipfile import BadZipFile

    import numpy as np

    try:
        with np.load(file) as held:
            return (held["start"], held["end"]) if held["key"] == key else None
    except (
        OSError,
        ValueError,
        KeyError,
        EOFError,
        BadZipFile,
    ):  # not there, or something else in its place
        return None
