"""`nonlocalnet timeline`: what happens in a long video, and when."""

from pathlib import Path

HELP = """Name what happens in a long video, and when: start, end, label, score.

Windows as long as the clips of training slide over the video, and every moment gets the mean score
of those that cover it. The video is decoded once; memory does not grow with its length.

Example: nonlocalnet timeline match.mp4 --model runs/mine --out match.srt"""

FORMS = {".json": "as_json", ".csv": "as_csv", ".srt": "as_srt"}


def add_arguments(parser) -> None:
    """Options of the command."""
    parser.add_argument("file", type=str, help="a video, a folder of frames or a .npy file")
    parser.add_argument("--model", type=str, required=True, help="a run folder or a model file")
    parser.add_argument("--out", type=str, help="FILE.json, .csv or .srt (subtitles)")
    add_window_arguments(parser)
    parser.add_argument(
        "--threshold",
        type=float,
        help="leave out moments below this score; default: 0, for several labels per video 0.5",
    )
    parser.add_argument("--json", action="store_true", help="print the timeline as JSON")


def add_window_arguments(parser) -> None:
    """Options shared with `features`."""
    parser.add_argument("--window", type=float, help="seconds; default: a clip as in training")
    parser.add_argument("--every", type=float, help="seconds between starts; default: half of it")
    parser.add_argument("--reader", type=str, help="pyav, torchcodec or opencv; default: the first")
    parser.add_argument("--fps", type=float, default=30.0, help="of folders of frames and arrays")


def run(options) -> int:
    """Writes the file, or prints the timeline."""
    from nonlocalnet.cli.progress import progress_bar
    from nonlocalnet.engine.classifier import load
    from nonlocalnet.engine.timeline import timeline
    from nonlocalnet.files import write_atomically

    form = FORMS.get(Path(options.out).suffix.lower()) if options.out else None
    if options.out and form is None:
        raise ValueError(f"--out must end in {', '.join(FORMS)}, got {options.out!r}")
    with progress_bar("looking") as progress:
        found = timeline(
            load(options.model),
            options.file,
            window=options.window,
            every=options.every,
            threshold=options.threshold,
            reader=options.reader,
            fps=options.fps,
            progress=progress,
        )
    if form:
        write_atomically(options.out, getattr(found, form)().encode())
    if options.json:
        print(found.as_json(), end="")
        return 0
    for stretch in found.stretches:
        span = f"{stretch.start:9.2f} to {stretch.end:9.2f} s"
        print(f"{span}  {100 * stretch.score:5.1f} %  {stretch.label}")
    if form:
        print(f"{len(found.stretches)} stretches, written to {options.out}")
    return 0
