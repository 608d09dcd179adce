"""Videos made quick to read: shorter side resized once, kept as raw frames or as light H.264.

A cache is a folder: `manifest.csv` (nonlocalnet.data.check, of the source folder), `prepared.json`
(how), and one file per video named by the hash of the source's content, so copies are kept once.
Frame k of a prepared file is frame k of its source, at the same time.
"""

import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np

from nonlocalnet.data.check import Row, read_manifest
from nonlocalnet.data.killable import run_killable
from nonlocalnet.data.optional import require
from nonlocalnet.data.readers.array import times_file
from nonlocalnet.data.video import Video, open_video, read_each, require_reader, scaled_size
from nonlocalnet.files import replacing, write_atomically

TICKS = 90_000  # per second, of the time stamps written


@dataclass(frozen=True, kw_only=True)
class Preparation:
    """What is kept of each video."""

    short_side: int = 256
    """px; smaller videos keep their size."""
    form: Literal["frames", "video"] = "frames"
    """frames: uint8 .npy files, mapped into memory; video: H.264 without B-frames."""

    def __post_init__(self) -> None:
        if self.short_side < 16:
            raise ValueError(f"short_side={self.short_side} px must be 16 px or more")

    def file(self, cache: Path, row: Row) -> Path:
        """Where a video's prepared form is or will be."""
        return cache / f"{row.hash}{'.npy' if self.form == 'frames' else '.mp4'}"


def prepare(
    root: Path,
    rows: Iterable[Row],
    cache: Path,
    how: Preparation,
    *,
    reader: str | None = None,
    limit_s: float = 600.0,
    workers: int = 1,
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> dict[str, str]:
    """Writes what is not yet in the cache; what is there is whole, whenever it was interrupted.

    Args:
        root: The folder that the rows' paths are relative to.
        rows: Of its manifest; only good ones are prepared.
        cache: The folder to write.
        how: Must be that of the cache, if it exists.
        reader: See `open_video`.
        limit_s: Seconds per file.
        workers: Processes.
        progress: Called with (files done, files in all).

    Returns:
        Path -> sentence, for each video that could not be prepared.

    Raises:
        ValueError: The cache was made in another way, or the reader cannot work.
    """
    require_reader(reader)
    good = [row for row in rows if row.state == "ok"]
    check_preparation(cache, how)
    cache.mkdir(parents=True, exist_ok=True)
    write_atomically(cache / "prepared.json", (json.dumps(asdict(how)) + "\n").encode())
    by_content = {row.hash: row for row in good if not how.file(cache, row).exists()}
    done = len({row.hash for row in good}) - len(by_content)
    progress(done, done + len(by_content))
    faults: dict[str, str] = {}
    write_one = partial(write_prepared, root, cache, how, reader)
    results = run_killable(write_one, by_content.values(), workers=workers, limit_s=limit_s)
    for count, (row, outcome) in enumerate(results, start=done + 1):
        if isinstance(outcome, BaseException):
            faults |= {copy.path: str(outcome) for copy in good if copy.hash == row.hash}
        progress(count, done + len(by_content))
    return faults


def check_preparation(cache: Path, how: Preparation) -> None:
    """Whether a folder is a cache of that kind, or none yet.

    Raises:
        ValueError: It was made in another way.
    """
    settings = cache / "prepared.json"
    if settings.exists() and read_preparation(cache) != how:
        raise ValueError(
            f"{settings}: this cache holds {settings.read_text(encoding='utf-8').strip()}, "
            f"asked for {json.dumps(asdict(how))}; choose another folder with --out"
        )


def read_preparation(cache: Path) -> Preparation:
    """How a cache was made.

    Raises:
        ValueError: The folder is no cache.
    """
    settings = cache / "prepared.json"
    try:
        return Preparation(**json.loads(settings.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise ValueError(
            f"{cache}: no prepared.json in it; make it with nonlocalnet prepare"
        ) from None
    except (TypeError, ValueError) as error:
        raise ValueError(f"{settings}: not what nonlocalnet prepare writes ({error})") from None


def prepared_videos(cache: Path) -> dict[str, Path]:
    """Path in the source folder -> prepared file, for every video that is in the cache.

    Raises:
        ValueError: The folder is no cache.
    """
    how = read_preparation(cache)
    files = {row.path: how.file(cache, row) for row in read_manifest(cache / "manifest.csv")}
    return {path: file for path, file in files.items() if file.exists()}


def write_prepared(root: Path, cache: Path, how: Preparation, reader: str | None, row: Row) -> None:
    """Prepares one video; the file appears under its name when it is whole."""
    video = open_video(root / row.path, reader, fps=row.fps)
    short_side = min(how.short_side, video.height, video.width)
    target = how.file(cache, row)
    with replacing(target) as part:
        if how.form == "video":
            _write_video(part, video, short_side)
            return
        with replacing(times_file(target)) as times:
            np.save(times, video.seconds)
        _write_frames(part, video, short_side)


def _write_frames(path: Path, video: Video, short_side: int) -> None:
    frames = None
    for number, picture in read_each(video, np.arange(video.frames), short_side):
        if frames is None:
            shape = (video.frames, *picture.shape)
            frames = np.lib.format.open_memmap(path, "w+", np.uint8, shape)
        frames[number] = picture
    if frames is not None:
        frames.flush()


def _write_video(path: Path, video: Video, short_side: int) -> None:
    av = require("av", "preparing videos", "video")
    seconds = video.seconds
    with av.open(str(path), "w") as container:
        # Quick to decode from any place: a key frame every 16, none waits for a later one.
        options = {"crf": "16", "preset": "fast", "tune": "fastdecode", "g": "16", "bf": "0"}
        stream = container.add_stream("libx264", rate=Fraction(video.fps).limit_denominator(1001))
        stream.options = options
        stream.pix_fmt = "yuv420p"
        height, width = scaled_size(video.height, video.width, short_side)
        stream.height, stream.width = height // 2 * 2, width // 2 * 2  # what yuv420p can hold
        stream.codec_context.time_base = Fraction(1, TICKS)
        for number, picture in read_each(video, np.arange(video.frames), short_side):
            even = picture[: stream.height, : stream.width]
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(even), format="rgb24")
            frame.pts, frame.time_base = round(seconds[number] * TICKS), Fraction(1, TICKS)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
