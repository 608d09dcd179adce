"""A labelled set, opened: every video that `list_videos` names and that can be read."""

import os
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

from nonlocalnet.data.audit import audit
from nonlocalnet.data.check import read_manifest, unchanged
from nonlocalnet.data.found import root_of
from nonlocalnet.data.listed import SPLITS, Action, Listed
from nonlocalnet.data.listing import Listing, list_videos
from nonlocalnet.data.prepare import prepared_videos
from nonlocalnet.data.video import BadVideo, Video, open_video, require_reader


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One labelled video: of one class, or with actions where there may be several."""

    video: Video
    label: int | None = None
    """The class; None in a set of several labels per video."""
    actions: tuple[Action, ...] = ()
    """What happens when, in such a set; `data.charades.target` gives the labels of a clip."""


class Unreadable(NamedTuple):
    """A listed video whose file was left out."""

    row: Listed
    fault: str
    """One sentence that names the file."""


@dataclass(kw_only=True)
class VideoFolder:
    """What `read_folder` found."""

    labels: list[str]
    splits: dict[str, list[Sample]]  # train, val and test; val may be empty
    split_by: str
    """Who drew the line between training and testing, in words."""
    missing: dict[str, list[Listed]] = field(default_factory=dict)
    """Listed videos without a file, by split."""
    unreadable: dict[str, list[Unreadable]] = field(default_factory=dict)
    """Listed videos whose file cannot be read, by split."""
    multi_label: bool = False
    """Several labels per video: samples have actions."""
    warnings: list[str] = field(default_factory=list)
    """Sentences about missing videos, leakage, tiny classes and imbalance."""

    @property
    def bad(self) -> list[str]:
        """One sentence for each file that was left out."""
        # A validation split that is the test split too counts once.
        return list(dict.fromkeys(fault for s in self.unreadable.values() for _, fault in s))


def read_folder(
    source: str | Path,
    seed: int = 0,
    progress: Callable[[int, int], None] = lambda done, of: None,
    *,
    videos: str | Path | None = None,
    labels: Sequence[str] | None = None,
    needs: Sequence[str] = ("train", "test"),
    reader: str | None = None,
    prepared: str | Path | None = None,
) -> VideoFolder:
    """Lists and opens (without decoding) the videos of a set.

    Where `nonlocalnet check` left a manifest.csv, only what it calls ok is in the splits, and
    nothing that it describes is opened.

    Args:
        source: A folder or a list, see `data.listing`.
        seed: Draws the test sources where nobody names a split.
        progress: Called with (files done, files in all).
        videos: Where a list's relative paths start; None: its own folder.
        labels: Class names of a trained network; None: from the set.
        needs: Splits that must not be empty. Others are not opened, but for the validation split
            where training and testing are needed, and in place of a test split that is not there.
        reader: See `open_video`.
        prepared: A cache of `nonlocalnet prepare`, whose files are read instead where it has them.

    Raises:
        ValueError: What `list_videos` raises, no readable video in a split that is needed, or the
            reader cannot work.
    """
    require_reader(reader)
    listing = list_videos(source, videos=videos, labels=labels, seed=seed)
    tested = "test" if any(row.split == "test" for row in listing.rows) else "val"
    splits = {tested if split == "test" else split for split in needs}
    source = Path(source)
    root = root_of(source, videos)
    opener = _opener(root, reader, Path(prepared) if prepared else None)
    if {"train", "test"} <= set(needs):
        splits.add("val")
    folder = open_listing(listing, splits, progress, opener)
    folder.splits["test"] = folder.splits[tested]
    folder.missing["test"] = folder.missing[tested]
    folder.unreadable["test"] = folder.unreadable[tested]
    if prepared:
        opened = [sample.video.path for split in splits for sample in folder.splits[split]]
        decoded = [path for path in opened if not path.is_relative_to(prepared)]
        if decoded:
            folder.warnings.append(
                f"{len(decoded)} of {len(opened)} videos are not in {prepared} or have changed "
                f"since (first: {decoded[0]}); they are decoded, which is slower: run nonlocalnet "
                "prepare again"
            )
    for split in needs:
        if not folder.splits[split]:
            why = (
                f"; {len(folder.bad)} were unreadable, first: {folder.bad[0]}" if folder.bad else ""
            )
            raise ValueError(
                f"{source}: no readable video in the {split} split{why}; check the folder"
            )
    return folder


def open_listing(
    listing: Listing,
    splits: Collection[str],
    progress: Callable[[int, int], None],
    opener: Callable[[Listed], Video],
) -> VideoFolder:
    """Opens the videos of some splits; those that cannot be read are named in `unreadable`."""
    folder = VideoFolder(
        labels=listing.labels,
        splits={split: [] for split in SPLITS},
        split_by=listing.split_by,
        missing={s: [row for row in listing.missing if row.split == s] for s in SPLITS},
        unreadable={split: [] for split in SPLITS},
        multi_label=listing.multi_label,
    )
    numbers = {label: number for number, label in enumerate(listing.labels)}
    rows = [row for row in listing.rows if row.split in splits]
    for done, row in enumerate(rows):
        try:
            sample = Sample(
                video=opener(row),
                label=numbers.get(row.label),
                actions=row.actions or (),
            )
            folder.splits[row.split or "train"].append(sample)
        except BadVideo as error:
            folder.unreadable[row.split or "train"].append(Unreadable(row, str(error)))
        progress(done + 1, len(rows))
    unreadable = {row.path for split in SPLITS for row, _ in folder.unreadable[split]}
    readable = [row for row in listing.rows if row.path not in unreadable]
    folder.warnings = [*listing.notes, *audit(readable, listing.labels)]
    return folder


def _opener(root: Path, reader: str | None, cache: Path | None) -> Callable[[Listed], Video]:
    """How a video is opened: by what the manifest knows of it, from the cache if it is there."""
    rows = {row.path: row for row in read_manifest((cache or root) / "manifest.csv")}
    files = prepared_videos(cache) if cache else {}

    def opener(listed: Listed) -> Video:
        path = listed.path
        name = os.path.relpath(path, root)
        row = rows.get(name)
        if row is None or not unchanged(row, root):
            return open_video(path, reader, fps=listed.fps)
        if row.state != "ok":
            raise BadVideo(path, f"{row.state} by the manifest: {row.reason}", row.state)
        same_rate = row.fps == round(listed.fps, 6) or not path.is_dir()  # images know no rate
        if name in files and same_rate:
            return open_video(files[name], reader)
        video = row.video(root, reader)
        return video if same_rate else replace(video, fps=listed.fps)

    return opener
