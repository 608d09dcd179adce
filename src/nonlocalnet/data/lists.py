"""One list file -> its videos.

The first line says which of these it is (docs/data.md shows each):
header `path,label` and perhaps `split`   ours, comma, semicolon or tab
header `path,labels` and perhaps `split`  ours, several labels per video
header with `youtube_id`                  Kinetics, official
header with `id` and `actions`            Charades, official
header with `original_vido_id`            Charades, list of frames
no header                                 `path label` or `path,label` (PySlowFast, mmaction2), or
                                          `folder frames label` (mmaction2's raw frames)
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from nonlocalnet.data import charades, kinetics
from nonlocalnet.data.listed import SUFFIXES, Listed, split_named
from nonlocalnet.data.tables import read_cells, read_lines, read_table

_SUFFIX = rf"\.(?:{'|'.join(sorted(suffix[1:] for suffix in SUFFIXES))})"
_QUOTED = re.compile(r'"((?:[^"]|"")+)"\s+(.+)')
_VIDEO = re.compile(rf"(.*{_SUFFIX})\s+(.+)", re.IGNORECASE)
_FRAMES = re.compile(r"(.*\S)\s+(\d+)\s+(\S+)")
_FOLDER = re.compile(r"(.*\S)\s+(\S+)")
_COUNTED = re.compile(r"(\d+)\s+(\d+)")
_SEVERAL = re.compile(r"\d+(?:,\d+)+")
_FRAME_LIST = {"original_vido_id", "original_video_id"}  # as published, and as it should be


@dataclass(frozen=True, kw_only=True)
class ListFile:
    """What one list file says."""

    kind: str
    """Begins the sentence about missing videos: kinetics, charades or the file's name."""
    rows: list[Listed]
    """Empty only for the Kinetics test list, which comes without labels."""
    notes: list[str]
    """One sentence for each thing that was passed over."""


def read_list(file: Path, root: Path) -> ListFile:
    """The videos of a list file, in its order; splits only where the file itself names them.

    Args:
        file: The list, UTF-8 text.
        root: The folder that relative paths start from, or that is searched by video id.

    Raises:
        ValueError: The first fault, with file, line, the text at fault and the cure.
    """
    first = next(((n, text.strip()) for n, text in read_lines(file) if text.strip()), None)
    if first is None:
        raise ValueError(f"{file}: an empty list; write one video per line, as: clip.mp4 label")
    number, text = first
    notes: list[str] = []
    kind, known = file.name, _header(text)
    if known is None:
        if not _looks_like_data(text, root):
            raise ValueError(
                f"{file}:{number}: {text!r} is neither a video with its label nor a header with "
                "the columns path and label (and perhaps split); name the columns so"
            )
        comma = bool(re.search(rf'{_SUFFIX}"?\s*,', text, re.IGNORECASE)) or not re.search(
            r"\s", text
        )
        rows = list(_from_cells(file, root) if comma else _from_words(file, root))
    else:
        delimiter, columns = known
        table = read_table(file, delimiter, columns)
        if set(columns) >= kinetics.COLUMNS:
            kind = "kinetics"
            if "label" not in columns:
                notes.append(
                    f"{file}:{number}: the header has no column label (the official test list has "
                    "none), so its videos are left out; give a list with labels"
                )
                return ListFile(kind=kind, rows=[], notes=notes)
            rows = kinetics.kinetics_rows(table, root)
        elif set(columns) >= charades.OFFICIAL_COLUMNS:
            kind, rows = "charades", charades.charades_rows(table, root, notes)
        elif _FRAME_LIST.intersection(columns):
            kind, rows = "charades", charades.frame_list_rows(file, root)
        elif "labels" in columns and "label" in columns:
            raise ValueError(
                f"{file}:{number}: columns label and labels; keep label where every video has "
                "one, labels where it may have several"
            )
        elif "labels" in columns:
            rows = list(_of_several(table, root))
        else:
            rows = list(_from_table(table, root))
    if not rows:
        raise ValueError(f"{file}: a header and no video below it; add one video per line")
    return ListFile(kind=kind, rows=_once(file, rows, notes), notes=notes)


def _header(text: str) -> tuple[str, list[str]] | None:
    """(delimiter, lower-case columns) of a first line that is a header this module knows."""
    for delimiter in (",", ";", "\t", " "):
        columns = [cell.strip().strip('"').lower() for cell in text.split(delimiter)]
        ours = {"path", "label"}, {"path", "labels"}
        known = *ours, kinetics.COLUMNS, charades.OFFICIAL_COLUMNS
        if any(set(columns) >= names for names in known):
            return delimiter, columns
    return None


def _looks_like_data(text: str, root: Path) -> bool:
    """A video's name, a number at the end, or a path that exists: no header has these."""
    path = re.split(r"[\s,]", text, maxsplit=1)[0]
    return bool(
        re.search(rf"{_SUFFIX}\b|[\s,]\d+$", text, re.IGNORECASE)
        or "/" in path
        or (root / path).exists()
    )


def _from_table(table: Iterable[tuple[str, dict[str, str]]], root: Path) -> Iterator[Listed]:
    for where, row in table:
        yield _listed(where, root, row["path"], row["label"], row.get("split", ""))


def _of_several(table: Iterable[tuple[str, dict[str, str]]], root: Path) -> Iterator[Listed]:
    for where, row in table:
        names = tuple(name.strip() for name in row["labels"].split(";")) if row["labels"] else ()
        if not row["path"]:
            raise ValueError(
                f"{where}: labels {row['labels']!r} without a path; fill it in or delete the line"
            )
        if "" in names or len(set(names)) < len(names):
            raise ValueError(
                f"{where}: labels {row['labels']!r} of {row['path']} must be names with a "
                "semicolon between them, each once, or nothing; correct them"
            )
        split = _split(where, row.get("split", ""))
        yield Listed(path=root / row["path"], names=names, split=split, where=where)


def _from_cells(file: Path, root: Path) -> Iterator[Listed]:
    """`path,label`, `path,label,split` or `folder,frames,label`."""
    for number, cells in read_cells(file, ","):
        where = f"{file}:{number}"
        if len(cells) == 3 and split_named(cells[2]):
            yield _listed(where, root, *cells)
        elif len(cells) == 3 and cells[1].isdecimal():
            yield _listed(where, root, cells[0], cells[2], frames=cells[1])
        elif len(cells) == 2:
            yield _listed(where, root, *cells)
        else:
            raise ValueError(
                f"{where}: {len(cells)} values in {','.join(cells)!r}, where a path and a label "
                "were expected; put a path that holds a comma in double quotes"
            )


def _from_words(file: Path, root: Path) -> Iterator[Listed]:
    """`path label` or `folder frames label`; a path may hold spaces, quoted or not."""
    for number, line in read_lines(file):
        text, where = line.strip(), f"{file}:{number}"
        if not text:
            continue
        if text.startswith('"'):
            found = _QUOTED.fullmatch(text)
            if not found:
                raise ValueError(
                    f"{where}: {text!r} opens a double quote and does not close it before the "
                    'label; write "a path.mp4" label'
                )
            path, label = found[1].replace('""', '"'), found[2]
        elif found := _VIDEO.fullmatch(text):
            path, label = found.groups()
        elif found := _FRAMES.fullmatch(text):
            yield _listed(where, root, found[1], found[3], frames=found[2])
            continue
        elif re.search(rf"{_SUFFIX}$", text, re.IGNORECASE) or not (
            found := _FOLDER.fullmatch(text)
        ):
            raise ValueError(
                f"{where}: {text!r} has no label; write the path, a space and the label"
            )
        else:
            path, label = found.groups()
        counted = _COUNTED.fullmatch(label)
        if counted:
            yield _listed(where, root, path, counted[2], frames=counted[1])
        else:
            yield _listed(where, root, path, label.strip('"'))


def _listed(
    where: str, root: Path, path: str, label: str, split: str = "", frames: str = "1"
) -> Listed:
    if not path or not label:
        raise ValueError(
            f"{where}: path {path!r} and label {label!r} must both be given; "
            "fill in the line or delete it"
        )
    if int(frames) < 1:
        raise ValueError(
            f"{where}: {path!r} is listed with {frames} frames; "
            "extract its frames, or delete the line"
        )
    if _SEVERAL.fullmatch(label):
        raise ValueError(
            f"{where}: {label!r} is more than one label, and such a list has one per video; keep "
            "one, or write a list with the columns path and labels"
        )
    return Listed(path=root / path, label=label, split=_split(where, split), where=where)


def _split(where: str, text: str) -> str | None:
    if text and not split_named(text):
        raise ValueError(
            f"{where}: split must be train, val or test, got {text!r}; correct it or empty it"
        )
    return split_named(text)


def _once(file: Path, rows: list[Listed], notes: list[str]) -> list[Listed]:
    """Each video of each split once; unlike labels for one video are a fault."""
    seen: dict[Path, Listed] = {}
    kept: dict[tuple[Path, str | None], Listed] = {}
    repeats: list[Listed] = []
    for row in rows:
        before = seen.setdefault(row.path, row)
        if (before.label, before.names) != (row.label, row.names):
            here, there = (";".join(r.names) if r.names else r.label for r in (row, before))
            line = before.where.rpartition(":")[2]
            raise ValueError(
                f"{row.where}: {row.path.name} has label {here!r} here and {there!r} "
                f"in line {line}; keep one of the two"
            )
        if kept.setdefault((row.path, row.split), row) is not row:
            repeats.append(row)
    if repeats:
        notes.append(
            f"{file}: {len(repeats)} of {len(rows)} lines repeat a video, first: "
            f"{repeats[0].where.rpartition(':')[2]}; each counts once"
        )
    return list(kept.values())
