"""A labelled set as its description names it: nothing is opened here, files are only looked for.

`list_videos` takes a folder or a list. Of a folder, the first layout that fits:
1. `videos.csv` with the columns path, label (or labels) and perhaps split;
2. one list per split (train.csv and val.csv, kinetics_train.txt, Charades_v1_train.csv, ...), in
   the folder itself or in its folder annotations;
3. folders train, val and test (or videos_train, ...), each with one folder per class;
4. one folder per class.
A list named for a split brings the lists beside it that are named for the others. Where nobody
draws the line between training and testing, `split_by_source` does.
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from nonlocalnet.data import charades
from nonlocalnet.data.classes import class_list, with_actions, with_names
from nonlocalnet.data.listed import SPLITS, SUFFIXES, Listed, split_named
from nonlocalnet.data.lists import read_list
from nonlocalnet.data.splits import split_by_source

_LIST_NAME = re.compile(
    r"(?P<before>(?:.*[_\-.])?)(?P<split>train|valid(?:at(?:e|ion))?|val|test)"
    r"(?P<after>(?:list)?(?:[_\-.]?(?:list|videos|rawframes|split|\d+))*)",
    re.IGNORECASE,
)
Lists = dict[str | None, Path]
"""The list of each split; of None where there is one and its name tells no split."""


@dataclass(frozen=True, kw_only=True)
class Listing:
    """What `list_videos` found."""

    labels: list[str]
    """Class names in the order of the logits."""
    rows: list[Listed]
    """Videos whose file exists, each with a split, and a label of `labels` or actions."""
    missing: list[Listed]
    """The same of listed videos whose file does not exist."""
    multi_label: bool
    """Several labels per video: rows have actions."""
    split_by: str
    """Who drew the line between training and testing, in words."""
    notes: list[str]
    """One sentence for each thing that is missing or was passed over."""


def list_videos(
    source: str | Path,
    *,
    videos: str | Path | None = None,
    labels: Sequence[str] | None = None,
    seed: int = 0,
) -> Listing:
    """Reads the description of a labelled set; opens no video.

    Args:
        source: A folder, or a list file.
        videos: Where a list's relative paths start and ids are looked for; None: its own folder.
        labels: Class names that are known already, those of a trained network; None: from the set.
        seed: Draws the test sources where nobody names a split.

    Raises:
        ValueError: No such file or folder, a fault in a list (with its line), no video, fewer than
            two classes, a label that is none of `labels`.
    """
    source = Path(source)
    if not source.exists():
        raise ValueError(
            f"{source}: no such folder or list; give a folder with one folder of clips per class, "
            "or a list of videos"
        )
    lists, notes = _lists_of(source), []
    if lists:
        beside = next(iter(lists.values())).parent
        root = Path(videos) if videos else source if source.is_dir() else beside
        rows, split_by = _from_lists(lists, root, notes)
        known_classes = class_list(beside) or class_list(root)
    else:
        beside, known_classes = source, None
        rows, split_by = _from_folders(source)
    if any(row.actions is not None for row in rows):
        names = charades.class_names(beside)
    elif any(row.names is not None for row in rows):
        names, rows = with_actions(rows, labels, known_classes, notes)
    else:
        names, rows = with_names(rows, labels, known_classes, notes)
    if len(names) < 2:
        raise ValueError(
            f"{source}: found {len(rows)} videos of {len(names)} classes, needs at least 2 "
            "classes; make one folder per class with its clips inside, or list them"
        )
    if all(row.split is None for row in rows):
        rows = split_by_source(rows, seed)
    return Listing(
        labels=names,
        rows=[row for row in rows if not row.missing],
        missing=[row for row in rows if row.missing],
        multi_label=any(row.actions is not None for row in rows),
        split_by=split_by,
        notes=notes,
    )


def split_of_list(file: Path) -> str | None:
    """The split that a list's name tells.

    Example:
        >>> names = "vallist.txt", "kinetics400_train_list_videos.txt", "train_log.csv"
        >>> [split_of_list(Path(name)) for name in names]
        ['val', 'train', None]
    """
    found = _LIST_NAME.fullmatch(file.stem)
    return split_named(found["split"]) if found else None


def _lists_of(source: Path) -> Lists:
    if source.is_file():
        if source.suffix.lower() in SUFFIXES:
            raise ValueError(f"{source}: a video, where a folder or a list of videos was expected")
        same = _by_name(source.parent).get(_name_without_split(source), {})
        return same if source in same.values() else {split_of_list(source): source}
    if (source / "videos.csv").exists():
        return {None: source / "videos.csv"}
    for folder in (source, source / "annotations"):
        sets = [lists for lists in _by_name(folder).values() if "train" in lists]
        if len(sets) > 1:
            named = ", ".join(sorted(lists["train"].name for lists in sets))
            raise ValueError(
                f"{folder}: {len(sets)} lists of training videos ({named}); "
                "give the one you mean instead of the folder"
            )
        if sets:
            return sets[0]
    return {}


def _by_name(folder: Path) -> dict[tuple[str, ...], Lists]:
    """The lists of a folder whose names tell a split, those of one set together."""
    sets: dict[tuple[str, ...], Lists] = defaultdict(dict)
    for file in sorted(folder.glob("*")):
        split = split_of_list(file)
        if split and file.suffix.lower() in (".csv", ".txt") and file.is_file():
            sets[_name_without_split(file)].setdefault(split, file)
    return {
        name: {split: lists[split] for split in SPLITS if split in lists}
        for name, lists in sets.items()
    }


def _name_without_split(file: Path) -> tuple[str, ...]:
    found = _LIST_NAME.fullmatch(file.stem)
    return (found["before"], found["after"], file.suffix) if found else (file.name,)


def _from_lists(lists: Lists, root: Path, notes: list[str]) -> tuple[list[Listed], str]:
    if not root.is_dir():
        raise ValueError(f"{root}: no such folder; --videos is where the listed videos are")
    everything: list[Listed] = []
    split_by = f"the lists {', '.join(file.name for file in lists.values())}"
    for split, file in lists.items():
        read = read_list(file, root)
        if len(lists) == 1 and not read.rows:
            raise ValueError(read.notes[0])
        notes += read.notes
        unsplit = [row for row in read.rows if row.split is None]
        if unsplit and len(unsplit) < len(read.rows):
            raise ValueError(
                f"{unsplit[0].where}: no split for {unsplit[0].path.name}, while other lines have "
                "one; fill it in for all or for none"
            )
        if len(lists) == 1 and not unsplit:
            split_by = f"the split column of {file.name}"
        elif len(lists) == 1 and split is None:
            split_by = f"sources of {file.name}"
        rows = [_located(row, root, row.split or split) for row in read.rows]
        notes += _say_missing(rows, read.kind, root)
        everything += rows
    kinds = sorted({row.kind for row in everything})
    if len(kinds) > 1:
        named = ", ".join(str(file) for file in lists.values())
        raise ValueError(f"{named}: some have {kinds[0]}, some {kinds[1]}; give one kind")
    return everything, split_by


def _located(row: Listed, root: Path, split: str | None) -> Listed:
    """The row with its split, and its path where it lies: perhaps in the folder of the split."""
    places = [row.path]
    if split and row.path.is_relative_to(root):
        inside = row.path.relative_to(root)
        places += [root / f"{kind}{split}" / inside for kind in ("", "videos_", "rawframes_")]
    path = next((path for path in places if path.exists()), None)
    return replace(row, path=path or row.path, split=split, missing=path is None)


def _say_missing(rows: list[Listed], kind: str, root: Path) -> list[str]:
    missing = [row for row in rows if row.missing]
    if not missing:
        return []
    first = missing[0].path
    first = first.relative_to(root) if first.is_relative_to(root) else first
    if len(missing) == len(rows):
        raise ValueError(
            f"{missing[0].where}: none of the {len(rows)} listed videos is under {root}, first: "
            f"{first}; say with --videos where they are"
        )
    return [
        f"{kind}: {len(missing)} of {len(rows)} listed videos are missing under {root}, "
        f"first: {first}"
    ]


def _from_folders(root: Path) -> tuple[list[Listed], str]:
    splits: dict[str, list[Path]] = defaultdict(list)
    others = []
    for folder in _folders(root):
        split = split_named(folder.name.removeprefix("videos_"))
        (splits[split] if split else others).append(folder)
    # A class may be called train: only folders in it make it a split.
    if not any(_folders(folder) for folder in splits.get("train", ())):
        return _from_class_folders(root), "source"
    if len(splits) > 1:
        rows = [
            replace(row, split=split)
            for split, folders in splits.items()
            for folder in folders
            for row in _from_class_folders(folder)
        ]
        return rows, "the folders train, val and test"
    beside = [folder.name for folder in others if any(_videos_in(folder))]
    if beside:
        raise ValueError(
            f"{root}: {splits['train'][0].name} may be a split or a class, as {beside[0]} beside "
            "it has videos too; move one of them away, or name all videos in videos.csv"
        )
    return [row for folder in splits["train"] for row in _from_class_folders(folder)], "source"


def _from_class_folders(root: Path) -> list[Listed]:
    return [
        Listed(path=path, label=folder.name, where=str(path))
        for folder in _folders(root)
        for path in sorted(_videos_in(folder))
    ]


def _folders(root: Path) -> list[Path]:
    return sorted(p for p in root.iterdir() if p.is_dir() and not p.name.startswith("."))


def _videos_in(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
