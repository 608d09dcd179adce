"""What is wrong with which video, found once: the manifest.

A manifest is a CSV file with one row per video (`Row`). Files are decoded to their ends in
processes that can be killed, so a file that hangs or crashes the decoder is a row as any other.
"""

import contextlib
import csv
import hashlib
import io
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from nonlocalnet.data.killable import run_killable
from nonlocalnet.data.video import (
    BadVideo,
    Video,
    choose_reader,
    open_video,
    read_each,
    require_reader,
)
from nonlocalnet.files import write_atomically

STATES = ("ok", "truncated", "no video stream", "too short", "missing", "unreadable")


@dataclass(frozen=True, kw_only=True)
class Row:
    """One video of a manifest."""

    path: str
    """Relative to the folder that was checked."""
    state: str
    """One of STATES."""
    frames: int = 0
    fps: float = 0.0
    height: int = 0
    """px, upright."""
    width: int = 0
    """px, upright."""
    duration: float = 0.0
    """Seconds."""
    hash: str = ""
    """SHA-256 of the content; for a folder of images, of its rate too."""
    size: int = 0
    """Bytes."""
    changed: int = 0
    """Time of the last change, ns: a row holds while this and the size do."""
    reason: str = ""
    """What is wrong, in words."""

    def video(self, root: Path, reader: str | None = None) -> Video:
        """The same facts as `open_video` finds, without opening the file."""
        path = root / self.path
        return Video(
            path=path,
            reader=choose_reader(path, reader),
            frames=self.frames,
            fps=self.fps,
            height=self.height,
            width=self.width,
        )


def check(
    root: Path,
    paths: Iterable[str],
    manifest: Path,
    *,
    rates: Mapping[str, float] | None = None,
    reader: str | None = None,
    min_frames: int = 8,
    limit_s: float = 60.0,
    workers: int = 1,
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> list[Row]:
    """Examines every video and writes the manifest; rows of good files that did not change stand.

    So do the rows of files that are not asked for: another list may be of the same folder.

    Args:
        root: The folder.
        paths: Of the videos, relative to it.
        manifest: Where the rows go; an interrupted scan goes on from what it left there.
        rates: Path -> frames per second, for folders of images; 30 where there is none.
        reader: See `open_video`.
        min_frames: A video with fewer is too short.
        limit_s: Seconds per file.
        workers: Processes.
        progress: Called with (files done, files in all).

    Returns:
        One row per path, sorted by path.

    Raises:
        ValueError: The reader cannot work, or a file is in the manifest's place that is none.
    """
    require_reader(reader)
    wanted = sorted(set(paths))
    rates = rates or {}
    journal = manifest.with_name(manifest.name + ".part")
    known = {row.path: row for row in read_manifest(manifest)}
    with contextlib.suppress(ValueError):  # another process may be writing there
        known |= {row.path: row for row in read_manifest(journal)}
    rows = {
        path: known[path]
        for path in wanted
        if path in known and _stands(known[path], root, min_frames, rates.get(path, 30.0))
    }
    rest = [(path, rates.get(path, 30.0)) for path in wanted if path not in rows]
    examine_one = partial(_examine_listed, root, reader, min_frames)
    progress(len(rows), len(wanted))
    manifest.parent.mkdir(parents=True, exist_ok=True)
    with journal.open("w", newline="", encoding="utf-8", errors="surrogateescape") as lines:
        writer = _writer(lines)
        writer.writerows(asdict(row) for row in rows.values())
        for (path, fps), row in run_killable(examine_one, rest, workers=workers, limit_s=limit_s):
            if isinstance(row, BaseException):
                row = _stamped(root, path, fps, state="unreadable", reason=str(row))
            rows[path] = row
            writer.writerow(asdict(row))
            lines.flush()
            progress(len(rows), len(wanted))
    others = {path: row for path, row in known.items() if path not in rows and unchanged(row, root)}
    text = io.StringIO()
    writer = _writer(text)
    writer.writerows(asdict(row) for _, row in sorted({**others, **rows}.items()))
    write_atomically(manifest, text.getvalue().encode(errors="surrogateescape"))
    journal.unlink(missing_ok=True)  # another process may check the same folder
    return [rows[path] for path in wanted]


def examine(root: Path, reader: str | None, min_frames: int, path: str, fps: float = 30.0) -> Row:
    """Opens one video and decodes all of it; `fps` is the rate where the video does not say."""
    try:
        video = open_video(root / path, reader, fps=fps)
        decoded = {number for number, _ in read_each(video, np.arange(video.frames), 16)}
    except BadVideo as error:
        state = error.state
        if state == "unreadable" and (root / path).is_file() and _cut_short(root / path):
            state = "truncated"
        return _stamped(root, path, fps, state=state, reason=error.reason)
    facts: dict[str, Any] = {
        "frames": video.frames,
        "fps": round(video.fps, 6),
        "height": video.height,
        "width": video.width,
        "duration": round(video.frames / video.fps, 3),
    }
    promised = max(video.frames, video.expected)
    if len(decoded) < promised:
        why = f"{len(decoded)} of {promised} frames can be decoded"
        return _stamped(root, path, fps, state="truncated", reason=why, **facts)
    if video.frames < min_frames:
        why = f"{video.frames} frames, fewer than {min_frames}"
        return _stamped(root, path, fps, state="too short", reason=why, **facts)
    return _stamped(root, path, fps, state="ok", **facts)


def _examine_listed(
    root: Path, reader: str | None, min_frames: int, listed: tuple[str, float]
) -> Row:
    return examine(root, reader, min_frames, *listed)


def read_manifest(file: Path) -> list[Row]:
    """The rows of a manifest; none where there is no such file.

    A row cut short is passed over, and so are columns that older manifests have.

    Raises:
        ValueError: The file is no manifest.
    """
    try:
        # At once: another process may be writing it. File names may be in any encoding.
        text = file.read_text(encoding="utf-8", errors="surrogateescape")
    except (FileNotFoundError, NotADirectoryError):
        return []
    types = {f.name: f.type for f in fields(Row)}
    reader = csv.DictReader(io.StringIO(text, newline=""))
    try:
        lines, columns = list(reader), set(reader.fieldnames or ())
    except csv.Error:  # a field longer than any text
        lines, columns = [], set[str]()
    if text and not types.keys() <= columns:
        raise ValueError(
            f"{file}:1: not a manifest: its columns must be {', '.join(types)}; "
            "delete it and run nonlocalnet check again"
        )
    rows = []
    for values in lines:
        if None in values.values() or None in values:
            continue
        try:
            row = Row(**{name: kind(values[name]) for name, kind in types.items()})  # type: ignore[operator]
        except ValueError:
            continue
        if row.state in STATES:
            rows.append(row)
    return rows


def content_hash(path: Path, fps: float) -> str:
    """SHA-256 of a file, or of the rate, the names and files of a folder, in hexadecimal."""
    digest = hashlib.sha256(f"{fps:g}".encode() if path.is_dir() else b"")
    for file in _parts(path):
        if path.is_dir():
            digest.update(os.fsencode(file.name))
        with file.open("rb") as content:
            while block := content.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def written(path: Path) -> tuple[int, int]:
    """Bytes and time of the last change (ns) of a file, or of a folder and its files.

    Both are 0 where there is nothing, or nothing that may be read.
    """
    try:
        stats = [file.stat() for file in _parts(path)]
        changed = max(s.st_mtime_ns for s in (path.stat(), *stats))  # of the folder: a file renamed
    except OSError:
        return 0, 0
    return sum(s.st_size for s in stats), changed


def _parts(path: Path) -> list[Path]:
    """The files of a video: itself, or those of a folder of images."""
    return sorted(p for p in path.iterdir() if p.is_file()) if path.is_dir() else [path]


def _stamped(root: Path, path: str, rate: float, **facts: Any) -> Row:
    """A row with what identifies the file's content, as far as it can be read."""
    file = root / path
    if not (file.is_file() or file.is_dir()):
        return Row(path=path, **facts)
    size, changed = written(file)
    try:
        digest = content_hash(file, rate)
    except OSError:  # no permission, or a bad sector: its row is not ok already
        digest = ""
    return Row(path=path, size=size, changed=changed, hash=digest, **facts)


def _stands(row: Row, root: Path, min_frames: int, fps: float) -> bool:
    """Whether a row can stay: of a good file that did not change (bad ones are tried again)."""
    same_rate = row.fps == round(fps, 6) or not (root / row.path).is_dir()
    return row.state == "ok" and row.frames >= min_frames and same_rate and unchanged(row, root)


def unchanged(row: Row, root: Path) -> bool:
    """Whether a file still has the size and the time of change that its row tells."""
    file = root / row.path
    return file.exists() and (row.size, row.changed) == written(file)


def _writer(lines: Any) -> csv.DictWriter:
    writer = csv.DictWriter(lines, [f.name for f in fields(Row)], lineterminator="\n")
    writer.writeheader()
    return writer


def _cut_short(path: Path) -> bool:
    """Whether an MP4 or AVI file ends before its own sizes say, or an MP4 before its index."""
    with path.open("rb") as content:
        size = path.stat().st_size
        head = content.read(12)
        if head[:4] == b"RIFF":
            return int.from_bytes(head[4:8], "little") + 8 > size
        if head[4:8] != b"ftyp":
            return False
        at, seen = 0, set()
        while at < size:
            content.seek(at)
            box = content.read(16)
            length, kind = int.from_bytes(box[:4]), box[4:8]
            if length == 1:
                length = int.from_bytes(box[8:16])
            if length < 8 or at + length > size:
                return True
            seen.add(kind)
            at += length
        return b"moov" not in seen
