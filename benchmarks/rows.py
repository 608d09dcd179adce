"""Rows that a benchmark measured, kept as JSON lines, so that a table may grow over short runs."""

import json
from collections.abc import Sequence
from pathlib import Path

from op import print_table


def keep(path: str, row: dict) -> None:
    """Appends a row."""
    print("#", json.dumps(row), flush=True)
    with Path(path).open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")


def kept(path: str) -> list[dict]:
    """All rows so far."""
    return [json.loads(line) for line in Path(path).read_text(encoding="utf-8").splitlines()]


def table(path: str) -> None:
    """Prints them as Markdown."""
    rows = kept(path)
    head = list(dict.fromkeys(key for row in rows for key in row))
    print_table(head, [[str(row.get(key, "")) for key in head] for row in rows])


def plot(path: str, target: str, across: str, above: Sequence[str], **only: object) -> None:
    """Draws columns over column `across`, a line for each network, of rows with these values."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 4), layout="constrained")
    rows = [row for row in kept(path) if all(row.get(key) == only[key] for key in only)]
    for name in dict.fromkeys(row["network"] for row in rows):
        for column in above:
            found = {row[across]: row[column] for row in rows if row["network"] == name}
            axes.plot(
                *zip(*sorted(found.items()), strict=True), marker="o", label=f"{name} {column}"
            )
    axes.set(xlabel=across, ylabel="seconds")
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    figure.savefig(target, dpi=110)
