"""Names and numbers of classes: whatever a list writes, a video's label becomes a class name."""

import difflib
import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from nonlocalnet.data.listed import Action, Listed, same_name
from nonlocalnet.data.tables import read_lines


def class_list(folder: Path) -> tuple[Path, list[str]] | None:
    """(file, names by class number), where a folder has a list of its classes.

    One name per line in classes.txt or label_map*.txt, or classids.json with {name: number}.

    Raises:
        ValueError: Two such files, a name that comes twice, numbers that are not 0, 1, 2, ...
    """
    patterns = "classes.txt", "classids.json", "label_map*.txt"
    files = [file for pattern in patterns for file in sorted(folder.glob(pattern))]
    if len(files) > 1:
        named = ", ".join(file.name for file in files)
        raise ValueError(f"{folder}: {len(files)} class lists ({named}); keep the one that applies")
    if not files:
        return None
    (file,) = files
    if file.suffix == ".json":
        return file, _from_json(file)
    lines: dict[str, int] = {}
    for number, text in read_lines(file):
        name = text.strip()
        if name in lines:
            raise ValueError(
                f"{file}:{number}: class {name!r} is in line {lines[name]} already; "
                "the line of a name is its number, so each comes once"
            )
        if name:
            lines[name] = number
    return file, list(lines)


def _from_json(file: Path) -> list[str]:
    try:
        ids = {str(name).strip('"'): int(n) for name, n in json.loads(file.read_bytes()).items()}
    except (ValueError, TypeError, AttributeError):
        ids = {}
    if not ids or sorted(ids.values()) != list(range(len(ids))):
        raise ValueError(
            f"{file}: expected class names with the numbers 0, 1, 2, ..., each once, as "
            '{"abseiling": 0, "air drumming": 1}; correct it'
        )
    return sorted(ids, key=ids.__getitem__)


def with_names(
    rows: Sequence[Listed],
    known: Sequence[str] | None,
    listed: tuple[Path, list[str]] | None,
    notes: list[str],
) -> tuple[list[str], list[Listed]]:
    """Class names in order, and the rows with these names for labels.

    Args:
        rows: Labels are names, or numbers throughout. Those of folders count as names always.
        known: Names of a trained network, which the rows must be among.
        listed: From `class_list`.
        notes: Gets a sentence where numbers have gaps and nothing says what they mean.

    Raises:
        ValueError: Names and numbers mixed, a name or number that is not there.
    """
    numbers = [int(row.label) for row in rows if _is_number(row)]
    if numbers and len(numbers) < len(rows):
        name = next(row for row in rows if not _is_number(row))
        number = next(row for row in rows if _is_number(row))
        raise ValueError(
            f"{name.where}: label {name.label!r} is a name, where {number.where} has the number "
            f"{number.label}; write names or numbers throughout"
        )
    if listed and (numbers or known is None):
        names, whose = listed[1], f"the {len(listed[1])} classes of {listed[0]}"
    elif known is not None:
        names, whose = list(known), f"the {len(known)} classes of the network"
    elif numbers:
        occur = sorted(set(numbers))
        if occur != list(range(len(occur))):
            gap = next(n for n in range(occur[-1]) if n not in occur)
            notes.append(
                f"class numbers run from {occur[0]} to {occur[-1]} without {gap}, so the "
                f"{len(occur)} that occur are the classes; to keep the numbers, put the names of "
                "all classes into classes.txt beside the list, one per line"
            )
        return [str(n) for n in occur], [replace(row, label=str(int(row.label))) for row in rows]
    else:
        return sorted({row.label for row in rows}), list(rows)
    if numbers and not all(name.isdecimal() for name in names):
        return names, [_by_number(row, names, whose) for row in rows]
    spelt = {same_name(name): name for name in names}
    return names, [_by_name(row, spelt, whose) for row in rows]


def with_actions(
    rows: Sequence[Listed],
    known: Sequence[str] | None,
    listed: tuple[Path, list[str]] | None,
    notes: list[str],
) -> tuple[list[str], list[Listed]]:
    """`with_names` for rows with several labels: each becomes an action of the whole video.

    Example:
        >>> run = Listed(path=Path("a.mp4"), names=("run", "wave"), where="videos.csv:2")
        >>> names, (row,) = with_actions([run], None, None, [])
        >>> names, [(names[action.label], action.end) for action in row.actions]
        (['run', 'wave'], [('run', inf), ('wave', inf)])
    """
    single = [replace(row, label=name) for row in rows for name in row.names or ()]
    names, single = with_names(single, known, listed, notes)
    numbers = iter([names.index(row.label) for row in single])

    def actions(row: Listed) -> tuple[Action, ...]:
        return tuple(Action(label=next(numbers), start=0.0, end=math.inf) for _ in row.names or ())

    return names, [replace(row, actions=actions(row)) for row in rows]


def _is_number(row: Listed) -> bool:
    return row.label.isdecimal() and row.where != str(row.path)


def _by_number(row: Listed, names: list[str], whose: str) -> Listed:
    if int(row.label) >= len(names):
        raise ValueError(
            f"{row.where}: class number {row.label} is none of {whose}, which are 0 to "
            f"{len(names) - 1}; correct one of the two"
        )
    return replace(row, label=names[int(row.label)])


def _by_name(row: Listed, spelt: dict[str, str], whose: str) -> Listed:
    if same_name(row.label) not in spelt:
        near = difflib.get_close_matches(same_name(row.label), spelt, 1)
        raise ValueError(
            f"{row.where}: label {row.label!r} is none of {whose}"
            f"{f' (nearest: {spelt[near[0]]!r})' if near else ''}; correct one of the two"
        )
    return replace(row, label=spelt[same_name(row.label)])
