"""Charades (Sec. 5.2): 157 actions, several at a time, each with its seconds.

Two descriptions: the official Charades_v1_{train,test}.csv (columns id and actions, as
`c092 11.90 21.20;c147 0.00 12.60`), and lists of frames with their labels (columns
original_vido_id video_id frame_id path labels, at 24 frames per second).
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from nonlocalnet.data.listed import Action, Listed, find_stems
from nonlocalnet.data.tables import read_lines

CLASSES = 157
FPS = 24
"""Frames per second of the published frames, which the frame lists number."""
OFFICIAL_COLUMNS = frozenset({"id", "actions"})
_ACTION = re.compile(r"(\S+)\s+(\d+(?:\.\d*)?)\s+(\d+(?:\.\d*)?)")


def charades_rows(
    rows: Iterable[tuple[str, dict[str, str]]], root: Path, notes: list[str]
) -> list[Listed]:
    """The videos of an official CSV, found under `root` or with the path they should have.

    Args:
        rows: (FILE:LINE, cells by column).
        root: Where to look for ID.mp4 or a folder of frames ID/.
        notes: Gets a sentence for each action that is left out because it ends before it starts.

    Raises:
        ValueError: A row without id, an action that is not CLASS START END, an unknown class.
    """
    listed: list[tuple[str, str, tuple[Action, ...]]] = []
    for where, row in rows:
        if not row["id"]:
            raise ValueError(f"{where}: a row without id; fill it in or delete the row")
        listed.append((where, row["id"], tuple(_actions(where, row["actions"], notes))))
    files = find_stems(root, {name for _, name, _ in listed})
    return [
        Listed(
            path=files.get(name, [root / f"{name}.mp4"])[0], actions=actions, fps=FPS, where=where
        )
        for where, name, actions in listed
    ]


def frame_list_rows(file: Path, root: Path) -> list[Listed]:
    """The videos of a frame list: runs of frames that share a label become actions.

    Args:
        file: The list, one frame per line in the order of time, with a header.
        root: Where to look for the folders of frames, or for the videos.

    Raises:
        ValueError: A line that does not have five columns, a label that is no class.
    """
    first: dict[str, tuple[str, str]] = {}  # video -> FILE:LINE, path of its first frame
    count: dict[str, int] = {}
    runs: dict[str, dict[int, int]] = {}  # label -> frame since when it lasts
    done: dict[str, list[Action]] = {}
    for number, text in read_lines(file):
        cells = text.split()
        if not cells or cells[-1] == "labels":
            continue
        where = f"{file}:{number}"
        if len(cells) != 5:
            raise ValueError(
                f"{where}: {len(cells)} columns in {text!r}, where 5 were expected "
                '(original_vido_id video_id frame_id path labels, no spaces inside, "" for no '
                "label); correct the line"
            )
        video, _, _, path, labels = cells
        frame = count.get(video, 0)
        count[video] = frame + 1
        first.setdefault(video, (where, path))
        now = {_class(where, name) for name in labels.replace('"', "").split(",") if name}
        lasting, over = runs.setdefault(video, {}), done.setdefault(video, [])
        for label in lasting.keys() - now:
            over.append(Action(label=label, start=lasting.pop(label) / FPS, end=frame / FPS))
        for label in now - lasting.keys():
            lasting[label] = frame
    files = find_stems(root, first.keys())
    listed = []
    for video, (where, path) in first.items():
        end = count[video] / FPS
        last = [Action(label=k, start=v / FPS, end=end) for k, v in runs[video].items()]
        actions = sorted([*done[video], *last], key=lambda a: (a.start, a.label))
        found = files.get(video, [(root / path).parent])[0]
        listed.append(Listed(path=found, actions=tuple(actions), fps=FPS, where=where))
    return listed


def class_names(folder: Path) -> list[str]:
    """The 157 names of Charades_v1_classes.txt (lines `c000 Holding some clothes`), or c000, ...

    Raises:
        ValueError: The file has another number of lines or another order.
    """
    file = folder / "Charades_v1_classes.txt"
    if not file.is_file():
        return [f"c{number:03d}" for number in range(CLASSES)]
    names: list[str] = []
    for number, text in read_lines(file):
        code, _, name = text.strip().partition(" ")
        if code and (code != f"c{len(names):03d}" or not name):
            raise ValueError(
                f"{file}:{number}: {text!r}, where c{len(names):03d} and its name were expected; "
                "take the file from the data set's own archive"
            )
        names += [name] if code else []
    if len(names) != CLASSES:
        raise ValueError(
            f"{file}: {len(names)} classes, Charades has {CLASSES}; "
            "take the file from the data set's own archive"
        )
    return names


def target(
    actions: Sequence[Action], first: float, last: float, classes: int = CLASSES
) -> np.ndarray:  # (classes,) float32
    """1 for each class whose action overlaps a clip, else 0.

    Args:
        actions: Of the whole video.
        first: Seconds, when the clip's first frame is shown.
        last: Seconds, when its last one is.
        classes: How many there are.

    Example:
        >>> drink, sit = Action(label=1, start=2.0, end=5.0), Action(label=2, start=0.0, end=9.0)
        >>> target([drink, sit], 5.0, 6.0, classes=3).tolist()
        [0.0, 0.0, 1.0]
    """
    result = np.zeros(classes, np.float32)
    for action in actions:
        if action.start <= last and action.end > first:
            result[action.label] = 1
    return result


def _actions(where: str, text: str, notes: list[str]) -> Iterator[Action]:
    for part in filter(None, (piece.strip() for piece in text.split(";"))):
        found = _ACTION.fullmatch(part)
        if not found:
            raise ValueError(
                f"{where}: action {part!r} is not CLASS START END, as in "
                "'c092 11.90 21.20;c147 0.00 12.60'; correct it"
            )
        start, end = float(found[2]), float(found[3])
        label = _class(where, found[1])
        if end < start:
            notes.append(f"{where}: action {part!r} ends before it starts and is left out")
        else:
            yield Action(label=label, start=start, end=end)


def _class(where: str, name: str) -> int:
    digits = name.removeprefix("c")
    if not (digits.isdecimal() and int(digits) < CLASSES):
        raise ValueError(
            f"{where}: {name!r} is no class of Charades; they are c000 to c{CLASSES - 1} "
            "(or 0 to 156), correct it"
        )
    return int(digits)
