"""metrics.csv: one row per logged step, kept whole across a resume."""

import csv
from argparse import Namespace
from pathlib import Path
from typing import Any

from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.pytorch.loggers.logger import Logger
from lightning.pytorch.utilities import rank_zero_only

from nonlocalnet.files import replacing


class MetricsCSV(Logger):
    """Appends rows to a CSV file with fixed columns; what a step does not measure stays empty.

    Args:
        path: The file; created with its header when absent.
        columns: Names after `step`.
    """

    def __init__(self, path: Path, columns: tuple[str, ...]) -> None:
        super().__init__()
        self.path = path
        self.columns = ("step", *columns)

    @property
    def name(self) -> str:
        """Lightning asks for it; nothing is stored under it."""
        return "metrics"

    @property
    def version(self) -> str:
        """Lightning asks for it; nothing is stored under it."""
        return ""

    @property
    @rank_zero_experiment
    def experiment(self) -> Path:
        """Lightning asks for it: the file."""
        return self.path

    @rank_zero_only
    def begin(self, step: int) -> None:
        """Keeps the rows before `step` (those that a resumed run will not write again)."""
        rows = [row for row in read_metrics(self.path) if int(row["step"]) < step] if step else []
        with (
            replacing(self.path) as part,
            part.open("w", newline="", encoding="utf-8") as file,
        ):
            writer = csv.DictWriter(file, self.columns)
            writer.writeheader()
            writer.writerows(rows)

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Writes one row of those metrics that have a column."""
        row = {name: f"{value:.6g}" for name, value in metrics.items() if name in self.columns}
        if row:
            with self.path.open("a", newline="", encoding="utf-8") as file:
                csv.DictWriter(file, self.columns).writerow({"step": step, **row})

    @rank_zero_only
    def log_hyperparams(self, params: dict[str, Any] | Namespace, *_: Any, **__: Any) -> None:
        """Nothing: config.yaml holds the settings."""


def read_metrics(path: Path) -> list[dict[str, str]]:
    """Rows of a metrics.csv, values as text; [] where there is no file."""
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))
