"""Which videos a command goes through: those of a folder, of a list, or of both."""

import os
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from nonlocalnet.data.audit import audit
from nonlocalnet.data.listed import SUFFIXES, Listed, walk
from nonlocalnet.data.listing import Listing, list_videos
from nonlocalnet.data.readers.images import SUFFIXES as IMAGES


@dataclass(frozen=True, kw_only=True)
class Found:
    """Videos of a folder or a list, none of them opened."""

    rates: dict[str, float]
    """Path relative to the root, in order -> frames per second where the video does not say."""
    listing: Listing | None
    """The labelled set; None where this is only a heap of videos."""
    notes: list[str]
    """Sentences about the list or the folder."""

    def audit(self, good: Collection[str], root: Path) -> list[str]:
        """What is wrong with the set as a whole, given the paths of its good videos."""
        if self.listing is None:
            return []
        usable = [row for row in self.listing.rows if _name(row, root) in good]
        return audit(usable, self.listing.labels)


def root_of(source: Path, videos: str | Path | None = None) -> Path:
    """Where a set's videos are: as said, else the folder itself, or beside the list."""
    given = Path(videos or source)
    return given if given.is_dir() else given.parent


def videos_under(source: Path, root: Path) -> Found:
    """All videos in a folder or a list.

    Listed videos that do not exist are among them; a folder need not be a labelled set.

    Raises:
        ValueError: No such folder or list, a faulty list, or no video.
    """
    found = {path for path in root.rglob("*") if path.suffix.lower() in SUFFIXES}
    rates = {os.path.relpath(path, root): 30.0 for path in found}
    try:
        listing = list_videos(source, videos=root)
    except ValueError as error:
        if not source.is_dir() or not found:
            raise
        notes = [f"not a labelled set: {error}"]
        return Found(rates=dict(sorted(rates.items())), listing=None, notes=notes)
    listed = {_name(row, root): row.fps for row in (*listing.rows, *listing.missing)}
    rates = rates | listed if source.is_dir() else listed
    return Found(rates=dict(sorted(rates.items())), listing=listing, notes=listing.notes)


def heap_of(source: Path) -> list[Path]:
    """Everything under a path that `open_video` takes: videos, .npy files, folders of frames.

    A folder of frames is one that holds images, and neither videos nor folders.

    Raises:
        ValueError: No such file or folder, or nothing in it.
    """
    if not source.exists():
        raise ValueError(f"{source}: no such file or folder; check the path")
    if source.is_file():
        return [source]
    found = []
    for folder, folders, files in walk(source):
        suffixes = {file: Path(file).suffix.lower() for file in files}
        videos = [
            folder / file
            for file, suffix in suffixes.items()
            if suffix in SUFFIXES or (suffix == ".npy" and not file.endswith(".seconds.npy"))
        ]
        images = IMAGES.intersection(suffixes.values())
        found += [folder] if images and not videos and not folders else videos
    if not found:
        raise ValueError(
            f"{source}: no video in this folder; give videos, .npy files, folders of frames, or "
            "folders of these"
        )
    return sorted(found)


def _name(row: Listed, root: Path) -> str:
    return os.path.relpath(row.path, root)
