"""Frames through torchcodec, which needs FFmpeg's libraries on the system."""

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from nonlocalnet.data.optional import MissingLibrary, require
from nonlocalnet.data.video import BadVideo, Video

CHUNK = 32  # frames decoded at a time
FAULTS = (RuntimeError, IndexError, ValueError)


def library() -> ModuleType:
    """Torchcodec's decoders.

    Raises:
        MissingLibrary: It is not installed, or does not find FFmpeg's libraries.
    """
    try:
        decoders = require("torchcodec.decoders", "reading videos with torchcodec", "torchcodec")
        found = getattr(sys.modules["torchcodec"], "ffmpeg_major_version", 0)  # None: no FFmpeg
    except (RuntimeError, OSError):  # the same in older ones, whose text is a page of loader errors
        found = None
    if found is None:
        raise MissingLibrary(
            "torchcodec is installed but finds no FFmpeg libraries on this system; install FFmpeg "
            "(Debian: apt-get install ffmpeg; conda install ffmpeg), or use the reader pyav"
        )
    return decoders


def open_source(path: Path, fps: float) -> Video:
    """Scans the file's packets and decodes one frame.

    Raises:
        BadVideo: Not a video that torchcodec can read, or no frame in it.
    """
    decoder = _decoder(path, None, 1)
    facts = decoder.metadata
    try:
        first = decoder[0]
        begins = float(decoder.get_frame_at(0).pts_seconds)
    except FAULTS as error:
        raise BadVideo(path, f"no frame can be decoded ({_first_line(error)})") from None
    if facts.average_fps and abs(begins - facts.begin_stream_seconds) > 0.5 / facts.average_fps:
        raise BadVideo(  # the packed B-frames of XviD: it numbers their packets, and loses the end
            path, "torchcodec does not number the frames of this file rightly; use the reader pyav"
        )
    return Video(
        path=path,
        reader="torchcodec",
        frames=len(decoder),
        fps=float(facts.average_fps or fps),
        height=first.shape[0],
        width=first.shape[1],
        expected=facts.num_frames_from_header or 0,
    )


def read(
    video: Video, wanted: np.ndarray, size: tuple[int, int], threads: int
) -> Iterator[tuple[int, np.ndarray]]:
    """Pairs (index, picture) of the wanted frames, which are ascending.

    Raises:
        BadVideo: The file went away.
    """
    resized = None if size == (video.height, video.width) else size
    decoder = _decoder(video.path, resized, threads)
    done = 0
    try:
        for done in range(0, len(wanted), CHUNK):
            numbers = wanted[done : done + CHUNK].tolist()
            yield from zip(numbers, decoder.get_frames_at(numbers).data.numpy(), strict=True)
    except FAULTS:
        # Some open-GOP files cannot be sought near their end (0.17), and damaged ones end early.
        keep = set(wanted[done:].tolist())
        decoder = _decoder(video.path, resized, threads)
        try:
            for number in range(int(wanted[-1]) + 1):
                picture = decoder.get_frame_at(number).data
                if number in keep:
                    yield number, picture.numpy()
        except FAULTS:
            return


def seconds(video: Video) -> np.ndarray:  # (frames,) float64
    """By the time stamps, which only decoding tells here.

    Raises:
        BadVideo: Not all frames can be decoded.
    """
    decoder = _decoder(video.path, (16, 16), 1)
    try:
        times = [
            decoder.get_frames_in_range(i, min(i + CHUNK, video.frames)).pts_seconds.numpy()
            for i in range(0, video.frames, CHUNK)
        ]
    except FAULTS as error:
        raise BadVideo(
            video.path, f"its time stamps cannot be read ({_first_line(error)})", "truncated"
        ) from None
    return np.concatenate(times) - times[0][0]


def _decoder(path: Path, size: tuple[int, int] | None, threads: int) -> Any:
    decoders = library()
    if not path.exists():
        raise BadVideo(path, "no such file; check the path", "missing")
    resize = []
    if size is not None:
        transforms = require("torchcodec.transforms", "resizing with torchcodec", "torchcodec")
        resize = [transforms.Resize(size)]
    try:
        return decoders.VideoDecoder(
            str(path), dimension_order="NHWC", num_ffmpeg_threads=threads, transforms=resize or None
        )
    except (RuntimeError, ValueError) as error:
        raise BadVideo(
            path, f"not a video that torchcodec can read ({_first_line(error)})"
        ) from None


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
