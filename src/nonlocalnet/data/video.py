"""Videos as frames: those asked for, upright, at the size asked for, and no others.

A video's frames are numbered 0, 1, 2, ... in the order in which they are shown, whichever library
decodes them. A `Video` is a few plain facts: it travels to worker processes for nothing, and files
are opened where they are read and closed right after.
"""

import importlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

import numpy as np

from nonlocalnet.data.optional import MissingLibrary

READERS = {
    "pyav": "nonlocalnet.data.readers.pyav",
    "torchcodec": "nonlocalnet.data.readers.torchcodec",
    "opencv": "nonlocalnet.data.readers.opencv",
    "images": "nonlocalnet.data.readers.images",
    "array": "nonlocalnet.data.readers.array",
}


class BadVideo(ValueError):
    """A file that cannot be read as a video; the text names it and says why.

    Args:
        path: The file.
        reason: What is wrong with it, and what to do.
        state: One word of the manifest (nonlocalnet.data.check).
    """

    def __init__(self, path: Path | str, reason: str, state: str = "unreadable") -> None:
        super().__init__(f"{path}: {reason}")
        self.path, self.reason, self.state = str(path), reason, state

    def __reduce__(self) -> tuple:
        return BadVideo, (self.path, self.reason, self.state)


@dataclass(frozen=True, kw_only=True)
class Video:
    """What `open_video` found."""

    path: Path
    reader: str
    """One of READERS, or the name of a module that offers the same functions."""
    frames: int
    """Frames in the container; a damaged file may decode fewer."""
    fps: float
    """Frames per second, on average."""
    height: int
    """px, upright."""
    width: int
    """px, upright."""
    expected: int = 0
    """Frames that the container's header promises; 0: it does not say."""
    pixels: np.ndarray | None = field(default=None, repr=False, compare=False)  # (F, H, W, 3) uint8
    """The frames themselves where the video is an array in memory."""

    @property
    def seconds(self) -> np.ndarray:  # (frames,) float64
        """When each frame is shown, the first at 0; read from the file each time."""
        return _reader(self.reader).seconds(self)


def open_video(
    source: str | Path | np.ndarray, reader: str | None = None, *, fps: float = 30.0
) -> Video:
    """Finds out what is in a video file, a folder of images, a .npy file, or an array.

    Args:
        source: A path, or frames (F, H, W, 3) uint8.
        reader: One of READERS; None: the first that is installed and fits.
        fps: Frames per second where the source does not say (images and arrays).

    Raises:
        BadVideo: Missing, empty, not a video, no video stream, no frame.
        MissingLibrary: The reader's library is not installed or does not load.
        ValueError: No such reader, or a rate that is none.
    """
    if not 0 < fps < float("inf"):
        raise ValueError(f"fps={fps:g} frames per second must be above 0")
    if isinstance(source, np.ndarray):
        return _reader("array").from_memory(source, fps)
    path = Path(source)
    if not path.exists():
        raise BadVideo(path, "no such file; check the path", "missing")
    if path.is_file() and path.stat().st_size == 0:
        raise BadVideo(path, "the file is empty (0 bytes); copy or download it again")
    return _reader(choose_reader(path, reader)).open_source(path, fps)


def choose_reader(path: Path, reader: str | None) -> str:
    """The reader of a path: by its kind, else the one asked for, else the first installed.

    Raises:
        MissingLibrary: None is installed.
    """
    if path.is_dir():
        return "images"
    return "array" if path.suffix == ".npy" else reader or _first_installed()


def require_reader(reader: str | None) -> None:
    """Says at once that a reader cannot work, before every file of a set is blamed for it.

    Raises:
        MissingLibrary: Its library is not installed or does not load.
        ValueError: No such reader.
    """
    library = getattr(_reader(choose_reader(Path("video"), reader)), "library", None)
    if library is not None:
        library()


def read_frames(
    video: Video,
    indices: Sequence[int] | np.ndarray,
    short_side: int | None = None,
    *,
    window: tuple[int, int, int] | None = None,
    threads: int = 1,
) -> np.ndarray:  # (len(indices), H, W, 3) uint8 RGB
    """The frames asked for, in the order asked for; repeats are decoded once.

    Args:
        video: From `open_video`.
        indices: Frame numbers from 0 to video.frames - 1.
        short_side: px of the shorter side, resized (bilinear) while decoding.
        window: (top, left, side) px of a square of the resized frame; only that is copied.
        threads: Decoder threads; 0 lets the decoder choose.

    Raises:
        BadVideo: The file went away, or nothing could be decoded where frames were asked for.
        ValueError: An index outside the video.

    Where a damaged file lacks a frame, the last good one before it (or the first after) stands in.
    """
    asked = np.asarray(indices, dtype=np.int64)
    wanted = np.unique(asked)
    if wanted.size == 0 or wanted[0] < 0 or wanted[-1] >= video.frames:
        raise ValueError(
            f"{video.path}: frames are numbered 0 to {video.frames - 1}, asked for "
            f"{asked.tolist()[:8]}; sample clips with nonlocalnet.data.sampling"
        )
    top, left, side = window or (0, 0, None)
    rows, columns = (slice(at, at + side if side else None) for at in (top, left))
    found = {
        number: picture[rows, columns]
        for number, picture in read_each(video, wanted, short_side, threads=threads)
    }
    if not found:
        raise BadVideo(
            video.path, f"none of frames {wanted[0]} to {wanted[-1]} can be decoded", "truncated"
        )
    known = np.array(sorted(found))
    near = known[np.maximum(np.searchsorted(known, asked, side="right") - 1, 0)]
    return np.stack([found[int(index)] for index in near])


def read_each(
    video: Video, wanted: np.ndarray, short_side: int | None = None, *, threads: int = 1
) -> Iterator[tuple[int, np.ndarray]]:
    """Pairs (index, picture (H, W, 3) uint8) of ascending indices as they are decoded.

    Frames that cannot be decoded are left out.

    Raises:
        BadVideo: The file went away or has changed.
    """
    size = scaled_size(video.height, video.width, short_side)
    return _reader(video.reader).read(video, wanted, size, threads)


def scaled_size(height: int, width: int, short_side: int | None) -> tuple[int, int]:
    """Height and width in px once the shorter side is `short_side`, proportions kept.

    Example:
        >>> scaled_size(240, 320, 120), scaled_size(240, 320, None)
        ((120, 160), (240, 320))
    """
    if short_side is None:
        return height, width
    scale = short_side / min(height, width)
    return max(1, round(height * scale)), max(1, round(width * scale))


def _reader(name: str) -> ModuleType:
    try:
        module = importlib.import_module(READERS.get(name, name))
    except ModuleNotFoundError:
        module = None
    if not hasattr(module, "open_source"):
        raise ValueError(f"no reader {name!r}; choose one of {', '.join(READERS)}")
    return module  # type: ignore[return-value]


def _first_installed() -> str:
    faults = []
    for name in ("pyav", "torchcodec", "opencv"):
        try:
            _reader(name).library()
            return name
        except MissingLibrary as error:
            faults.append(str(error))
    raise MissingLibrary(faults[0])
