"""The report page that `nonlocalnet test` leaves: its figures, curves, pictures, explorer pages."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nonlocalnet.engine.classifier import Classifier

CLASSES = 20  # rows of the table of classes


def write_report(
    out: Path,
    results: dict[str, Any],
    run: Path,
    pictures: Sequence[Path],
    classifier: "Classifier",
    worst: int,
) -> Path:
    """Writes report.html beside the results, and an explorer page of each of the worst videos.

    Where the results file is not called results.json its name goes before theirs.

    Args:
        out: The results file.
        results: Its content.
        run: The run folder, whose metrics.csv gives the curves; a model file has none.
        pictures: Of `write_beside`: confusion and worst videos, as far as there are any.
        classifier: The network that was tested.
        worst: Videos to explore; a network without a non-local block has nothing to explore.
    """
    from nonlocalnet.engine.logs import read_metrics
    from nonlocalnet.files import write_atomically
    from nonlocalnet.recipes.curves import run_curve
    from nonlocalnet.viz.curves import draw_curves
    from nonlocalnet.viz.report import Picture, Section, report_page

    name = "" if out.stem == "results" else f"{out.stem}_"
    sections = [Section(title="Figures", text=_counts(results), table=_figures(results))]
    if read_metrics(run / "metrics.csv"):
        curves = out.with_name(f"{name}curves.png")
        curve = run_curve(run)
        draw_curves({run.resolve().name: curve}, curves, smooth=5)
        picture = Picture(path=curves, alt=f"{curve.measure} by step", plot=True)
        text = f"{curve.measure.capitalize()} while training (Figure 4): dashed on training clips, "
        text += "solid on the videos watched meanwhile."
        sections.append(Section(title="Training", text=text, pictures=[picture]))
    drawn = {path.name.removeprefix(name): path for path in pictures}
    confusion = drawn.get("confusion.png")
    alt = "Confusion matrix: of the videos of each class, what share was taken for which"
    sections.append(
        Section(
            title="Classes",
            text=f"The {CLASSES} classes with the lowest F1, worst first; all are in "
            f"{name}per_class.csv."
            if len(results["labels"]) > CLASSES
            else "Worst first.",
            table=_classes(results),
            pictures=[Picture(path=confusion, alt=alt, plot=True)] if confusion else [],
        )
    )
    links = _explorers(out.with_name(f"{name}explorer"), results, classifier, worst)
    alt = "Frames of the videos that the test got most wrong, with what was said of each"
    sections.append(
        Section(
            title="The worst videos",
            text="By the loss that was trained. In its explorer page a video plays, and shows "
            "where each block looked from any place."
            if links
            else "By the loss that was trained.",
            links=links,
            pictures=[Picture(path=drawn["worst.png"], alt=alt)] if "worst.png" in drawn else [],
        )
    )
    page = report_page(
        f"Test of {run.resolve().name}",
        f"{results['protocol']['views']} views of each video; {results['protocol']['scores']}.",
        sections,
        footer=f"Made by `nonlocalnet test`; every number is in {out.name}.",
    )
    file = out.with_name(f"{name}report.html")
    write_atomically(file, page.encode())
    return file


def _counts(results: dict[str, Any]) -> str:
    counts = results["protocol"]
    said = f"{counts['evaluated']} videos tested, {counts['missing']} unreadable or missing."
    method = results.get("interval_method")  # none where no video has a label
    return f"{said} Intervals: {method}." if method else said


def _figures(results: dict[str, Any]):
    from nonlocalnet.viz.report import Table

    rows = []
    for metric, value in results["metrics"].items():
        low, high = (100 * limit for limit in results["intervals"][metric])
        rows.append([metric, f"{100 * value:.2f} %", f"{low:.2f} to {high:.2f}"])
    return Table(header=["figure", "value", "interval, %"], rows=rows)


def _classes(results: dict[str, Any]):
    from nonlocalnet.engine.perclass import per_class
    from nonlocalnet.viz.report import Table

    classes = per_class(results)
    order = sorted(classes, key=lambda row: row["f1"] if row["f1"] is not None else 2.0)
    header = list(classes[0])
    rows = [[_cell(row[key]) for key in header] for row in order[:CLASSES]]
    return Table(header=[key.replace("_", " ") for key in header], rows=rows)


def _cell(value: Any) -> str:
    if value is None or value == "":
        return "-"
    return f"{100 * value:.1f} %" if isinstance(value, float) else str(value)


def _explorers(folder: Path, results: dict[str, Any], classifier: "Classifier", count: int):
    """Writes the pages; (text, address) of each."""
    from nonlocalnet.data.video import BadVideo
    from nonlocalnet.engine.worst import in_words, worst
    from nonlocalnet.nn.insert import nonlocal_blocks
    from nonlocalnet.recipes.explorer import write_page

    if not nonlocal_blocks(classifier.model):
        return []
    paths = [Path(video["path"]).absolute() for video in results["videos"]]
    base = os.path.commonpath([path.parent for path in paths]) if paths else ""
    links = []
    for place, row in enumerate(worst(results, count), start=1):
        name = os.path.relpath(paths[row], base)
        try:
            page = write_page(classifier, paths[row], folder / f"{place}.html", title=name)
        except BadVideo:  # gone since it was tested
            continue
        links.append((f"{name}: {in_words(results, row)[0]}", f"{folder.name}/{page.name}"))
    return links
