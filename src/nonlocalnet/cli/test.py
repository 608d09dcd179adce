"""`nonlocalnet test`: the paper's test of a trained run on a folder or a list."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Literal

HELP = """Test a run with evenly spread clips of each video, whole frames (Sec. 4.1).

Data with several labels per video are tested with a sigmoid per class; their figure is mAP.
A test that was killed goes on where it was (results.partial.jsonl beside the results). Under
torchrun the videos are shared out among the processes. report.html beside the results shows
figures, curves and classes, and links to explorer pages of the worst videos.

Example: nonlocalnet test runs/mine --data videos/ --views 10x1"""


def add_arguments(parser) -> None:
    """Options of the command."""
    parser.add_argument("run", type=str, help="a run folder (or a model file)")
    parser.add_argument("--data", type=str, required=True, help="a folder or a list, as in train")
    parser.add_argument("--videos", type=str, help="where a list's videos are; default: beside it")
    parser.add_argument("--prepared", type=str, help="a cache made by nonlocalnet prepare")
    parser.add_argument("--reader", type=str, help="pyav, torchcodec or opencv; default: the first")
    parser.add_argument(
        "--views",
        type=str,
        help="10x1: ten clips of the whole frame; 10x3: crops; 1-clip-jitter: that of Figure 4; "
        "default: as its recipe says, mostly 10x1",
    )
    parser.add_argument(
        "--combine",
        type=Literal["mean", "max"],
        help="of a video's views: the mean, or the largest score; default: as its recipe says",
    )
    parser.add_argument(
        "--softmax",
        type=Literal["location", "pooled"],
        default="location",
        help="of a view: softmax at each location, then their mean; or pooled first, then softmax",
    )
    parser.add_argument(
        "--starts",
        type=Literal["even", "released"],
        help="of the clips: even from end to end, or int(j N / clips); default: as in training",
    )
    parser.add_argument("--split", type=str, default="test", help="train, val or test")
    parser.add_argument("--out", type=str, help="results file; default RUN/results.json")
    parser.add_argument(
        "--submission", type=str, help="file for Charades' evaluation: id and scores of each video"
    )
    parser.add_argument(
        "--seed", type=int, help="draws the split and 1-clip-jitter; default: as in its training"
    )
    parser.add_argument(
        "--chunk",
        type=int,
        default=1,
        help="views per forward pass; above 1: more memory, scores equal to 1e-4 only",
    )
    parser.add_argument(
        "--optimize",
        action="store_true",
        help="fold the network for inference: faster, scores equal to 1e-4",
    )
    parser.add_argument("--workers", type=int, default=1, help="threads that decode ahead")
    parser.add_argument(
        "--explorer", type=int, default=3, help="explorer pages of so many of the worst videos"
    )
    parser.add_argument("--json", action="store_true", help="print the metrics as JSON")


def run(options) -> int:
    """Writes results.json and prints its metrics; of several processes only the first does."""
    from nonlocalnet.cli.progress import progress_bar
    from nonlocalnet.cli.test_files import write_beside
    from nonlocalnet.cli.test_report import write_report
    from nonlocalnet.data.folder import read_folder
    from nonlocalnet.engine.classifier import load
    from nonlocalnet.engine.partial import Partial
    from nonlocalnet.engine.processes import join_processes, place
    from nonlocalnet.engine.protocol import Protocol
    from nonlocalnet.engine.results import submission
    from nonlocalnet.engine.statistics import add_statistics
    from nonlocalnet.engine.testing import run_test
    from nonlocalnet.files import write_atomically
    from nonlocalnet.models.optimize import optimize

    _check_options(options)
    join_processes()  # before the network is put on this process's own GPU
    first = place()[0] == 0
    classifier = load(options.run)
    seed = int(classifier.metadata.get("seed", 0)) if options.seed is None else options.seed
    protocol = Protocol.parse(
        options.views or classifier.views,
        options.combine or classifier.combine,
        seed,
        options.softmax,
    )
    model = optimize(classifier.model) if options.optimize else classifier.model
    clip = classifier.clip
    if options.starts:
        clip = replace(clip, starts=options.starts)
    with progress_bar("opening") as progress:
        folder = read_folder(
            options.data,
            seed,
            progress,
            videos=options.videos,
            labels=classifier.labels,
            needs=(options.split,),
            reader=options.reader,
            prepared=options.prepared,
        )
    _check_data(options, classifier, folder)
    if first and not options.json:
        for sentence in folder.warnings:
            print(f"warning: {sentence}")
    run_folder = Path(options.run)
    out = run_folder if run_folder.is_dir() else run_folder.parent
    out = Path(options.out) if options.out else out / "results.json"
    partial = Partial(out)
    with progress_bar("testing") as progress:
        results = run_test(
            model,
            classifier.labels,
            folder.splits[options.split],
            clip,
            protocol,
            chunk=options.chunk,
            workers=options.workers,
            partial=partial,
            progress=progress,
        )
    if not first:
        return 0
    _complete(results, folder, options)
    add_statistics(results)
    write_atomically(out, json.dumps(results, indent=1).encode())
    if options.submission:
        write_atomically(options.submission, submission(results).encode())
    beside = write_beside(out, results)
    if pictures := [path for path in beside if path.suffix == ".png"]:
        report = write_report(out, results, run_folder, pictures, classifier, options.explorer)
        beside.append(report)
    partial.remove()
    if options.json:
        print(json.dumps(results["metrics"]))
    else:
        _tell(results, out, [path.name for path in beside], options.submission)
    return 0


def _check_options(options) -> None:
    """Says what cannot be before anything is opened."""
    from nonlocalnet.data.folder import SPLITS
    from nonlocalnet.engine.protocol import Protocol

    if options.views:
        Protocol.parse(options.views)
    if options.split not in SPLITS:
        raise ValueError(f"--split must be one of {', '.join(SPLITS)}, got {options.split!r}")
    if options.explorer < 0:
        raise ValueError(f"--explorer must be 0 pages or more, got {options.explorer}")
    if options.submission and options.prepared:
        raise ValueError(
            "--submission names videos by their files, and --prepared reads others; leave one out"
        )


def _check_data(options, classifier, folder) -> None:
    """Whether the data are of the classes and the kind that the model was trained on."""
    if folder.labels != classifier.labels:
        raise ValueError(
            f"{options.data} has {len(folder.labels)} classes ({', '.join(folder.labels[:3])}, ...)"
            f" but the model was trained on {len(classifier.labels)} "
            f"({', '.join(classifier.labels[:3])}, ...); test on the same classes"
        )
    if classifier.metadata.get("multi_label", folder.multi_label) != folder.multi_label:
        one, several = "one label per video", "several labels per video"
        given, trained = (several, one) if folder.multi_label else (one, several)
        raise ValueError(
            f"{options.data} has {given}, but the model was trained on {trained}; "
            "test on data of the same kind"
        )
    if options.submission and not folder.multi_label:
        raise ValueError(
            f"{options.data} has one label per video, and --submission is for several (Charades); "
            "results.json has the scores of every video"
        )


def _complete(results, folder, options) -> None:
    """Adds what the test itself cannot know: how the data were split, and what they lack."""
    from nonlocalnet.cli.test_files import missing_videos

    results["protocol"]["optimized"] = options.optimize
    faults = [fault for _, fault in folder.unreadable[options.split]]
    results["faults"] = [*faults, *results["faults"]]
    results["protocol"]["split"] = f"{options.split}, drawn by {folder.split_by}"
    missing = folder.missing[options.split]
    results["faults"] += [f"{row.where}: no file {row.path}" for row in missing]
    results["protocol"]["missing"] += len(faults) + len(missing)
    results["missing"] = missing_videos(folder, options.split, results)


def _tell(results, out: Path, beside: list[str], submission: str | None) -> None:
    for name, value in results["metrics"].items():
        low, high = (100 * limit for limit in results["intervals"][name])
        print(f"{name:<20} {100 * value:6.2f} %   95 % interval {low:.2f} to {high:.2f}")
    for name, (low, high) in results.get("bounds", {}).items():
        print(f"{name:<20} {100 * low:6.2f} to {100 * high:.2f} % with all that is missing")
    if "coverage" in results:
        print(_coverage(results))
    counts = results["protocol"]
    print(
        f"{counts['evaluated']} videos tested, {counts['missing']} unreadable or missing; "
        f"written to {out}{f' and {submission}' if submission else ''}; "
        f"beside it {', '.join(beside)}"
    )


def _coverage(results) -> str:
    """What mAP is the mean of, in a sentence."""
    if not results["metrics"]:
        return "no video has a label, so there is no mAP"
    counts = results["coverage"]
    empty = len(counts["without_positives"])
    sentence = f"mAP is the mean over {counts['classes'] - empty} of {counts['classes']} classes"
    if empty:
        sentence += f"; {empty} have no positive video, first: {counts['without_positives'][0]}"
    if counts["videos_without_label"]:
        sentence += f"; mAP_labelled leaves out the {counts['videos_without_label']} without label"
    return sentence
