"""The words of a data set before any file is opened: videos as lists and folders name them."""

import os
import re
from collections import defaultdict
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

SUFFIXES = frozenset(
    {".3gp", ".avi", ".flv", ".gif", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".ts"}
    | {".webm", ".wmv"}
)
SPLITS = ("train", "val", "test")
_SPLIT = re.compile(r"(train|test)(?:ing)?|(val)(?:id|idate|idation)?", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Action:
    """One thing that happens in a video of several labels, and when."""

    label: int
    """The class."""
    start: float
    """Seconds from the start of the video."""
    end: float
    """Seconds; may lie beyond the end of the video."""


@dataclass(frozen=True, kw_only=True)
class Listed:
    """One video as a list or a folder names it."""

    path: Path
    """A video file, or a folder of frames."""
    label: str = ""
    """Name of the class, or its number as text; empty in a set of several labels per video."""
    actions: tuple[Action, ...] | None = None
    """Of a set of several labels per video; it may be empty."""
    names: tuple[str, ...] | None = None
    """Names of the classes (or their numbers) that a video shows, from a list that does not say
    when; `list_videos` makes actions of the whole video of them."""
    fps: float = 30.0
    """Frames per second, for a folder of frames."""
    split: str | None = None
    """train, val or test, where the list says so."""
    where: str = ""
    """FILE:LINE of the list, or the path itself; begins every sentence about this video."""
    missing: bool = False
    """The file does not exist."""

    @property
    def kind(self) -> str:
        """How it is labelled; all videos of a set are of one kind."""
        if self.actions is None and self.names is None:
            return "one label per video"
        return "several labels per video" if self.actions is None else "actions with their times"


def split_named(text: str) -> str | None:
    """train, val or test for any of their common spellings.

    Example:
        >>> [split_named(text) for text in ("train", "Validate", "testing", "dev")]
        ['train', 'val', 'test', None]
    """
    found = _SPLIT.fullmatch(text.strip())
    return (found[1] or found[2]).lower() if found else None


def same_name(label: str) -> str:
    """What two spellings of one class have in common: `playing_guitar`, `Playing guitar`."""
    return label.strip('"').replace("_", " ").casefold()


def walk(root: Path) -> Iterator[tuple[Path, list[str], list[str]]]:
    """Every folder under `root` once, with the names of its folders and of its files.

    Links are followed, also where they go round in a circle. As in `os.walk`, folders that the
    caller takes out of the list are not entered.
    """
    entered: set[Path] = set()
    for name, folders, files in os.walk(root, followlinks=True):
        here = Path(name)
        if here.resolve() in entered:
            folders.clear()
            continue
        entered.add(here.resolve())
        folders.sort()
        yield here, folders, files


def find_stems(root: Path, wanted: Collection[str]) -> dict[str, list[Path]]:
    """Videos (and folders of frames) anywhere under `root` by name without suffix, sorted.

    One walk, however many are wanted; links are followed, folders that are found are not entered.
    """
    wanted = frozenset(wanted)
    found: dict[str, list[Path]] = defaultdict(list)
    for here, folders, files in walk(root):
        for name in wanted.intersection(folders):
            found[name].append(here / name)
        folders[:] = [name for name in folders if name not in wanted and name[:1] != "."]
        for file in files:
            stem, suffix = os.path.splitext(file)  # noqa: PTH122 a path for each would be slow
            if stem in wanted and suffix.lower() in SUFFIXES:
                found[stem].append(here / file)
    return {stem: sorted(paths) for stem, paths in found.items()}
