"""Decoding: the frames asked for, upright, at the size asked for, and no others.

A video's frames are numbered 0, 1, 2, ... in the order in which they are shown. The numbers come
from the time stamps of all packets (read without decoding), so a seek never returns a wrong frame,
and a variable frame rate or a first time stamp other than zero needs no special case. Containers
without trustworthy time stamps (AVI) are decoded from the start and counted.
"""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from nonlocalnet.data.optional import require


class BadVideo(ValueError):
    """A file that cannot be read as a video; the text names it and says why."""


@dataclass(frozen=True, kw_only=True)
class Video:
    """What `open_video` found without decoding a frame."""

    path: Path
    frames: int
    """Frames in the container; a damaged file may decode fewer."""
    fps: float
    """Frames per second, on average."""
    height: int
    """px, upright."""
    width: int
    """px, upright."""
    rotation: int
    """Quarter turns, counter-clockwise, that make the stored picture upright."""
    stamps: np.ndarray = field(repr=False)  # (frames,) int64, ascending; empty: count instead
    """Presentation time stamps, in ticks of the stream."""
    key_stamps: np.ndarray = field(repr=False)
    """Those of the key frames."""
    seconds: np.ndarray = field(repr=False)  # (frames,) float64
    """When each frame is shown, the first at 0."""


def open_video(path: str | Path) -> Video:
    """Reads a file's packets (not its pictures) and says what is in it.

    Raises:
        BadVideo: Missing, empty, not a video, no video stream, no frame.
    """
    path = Path(path)
    with _container(path) as container:
        stream = container.streams.video[0]
        rate = stream.average_rate or stream.base_rate
        packets = [p for p in _packets(container, stream, path) if p.size and not p.is_discard]
        if not packets:
            raise BadVideo(f"{path}: the video stream holds no frame; record or download it again")
        stamps = np.array([-1 if p.pts is None else p.pts for p in packets], dtype=np.int64)
        trusted = (
            "avi" not in container.format.name
            and all(p.pts is not None for p in packets)
            and len(np.unique(stamps)) == len(stamps)
        )
        key = np.array([p.is_keyframe for p in packets])
        fps = float(rate) if rate else 0.0
        if trusted and len(packets) > 1:
            span = float((stamps.max() - stamps.min()) * stream.time_base)
            fps = (len(packets) - 1) / span
        elif not fps:
            raise BadVideo(f"{path}: neither a frame rate nor time stamps; re-encode it")
        first = next(_decode(container, stream, path, seek_to=0), None)
        if first is None:
            raise BadVideo(f"{path}: not one of its {len(packets)} frames can be decoded")
        turns = round(first.rotation / 90) % 4
        upright = (first.height, first.width)[:: -1 if turns % 2 else 1]
        ascending = np.sort(stamps)
        seconds = (
            (ascending - ascending[0]) * float(stream.time_base)
            if trusted
            else np.arange(len(packets)) / fps
        )
        return Video(
            path=path,
            frames=len(packets),
            fps=fps,
            height=upright[0],
            width=upright[1],
            rotation=turns,
            stamps=ascending if trusted else ascending[:0],
            key_stamps=np.sort(stamps[key]) if trusted else ascending[:0],
            seconds=seconds,
        )


def read_frames(
    video: Video,
    indices: Sequence[int] | np.ndarray,
    short_side: int | None = None,
    *,
    threads: int = 1,
) -> np.ndarray:  # (len(indices), H, W, 3) uint8 RGB
    """The frames asked for, in the order asked for; repeats are decoded once.

    Args:
        video: From `open_video`.
        indices: Frame numbers from 0 to video.frames - 1.
        short_side: px of the shorter side; the decoder's scaler resizes (bilinear).
        threads: Decoder threads; 0 lets the decoder choose.

    Raises:
        BadVideo: The file went away, or nothing could be decoded where frames were asked for.
        ValueError: An index outside the video.

    Where a damaged file lacks a frame, the last good one before it (or the first after) stands in.
    """
    wanted = np.unique(np.asarray(indices, dtype=np.int64))
    if wanted.size == 0 or wanted[0] < 0 or wanted[-1] >= video.frames:
        raise ValueError(
            f"{video.path}: frames are numbered 0 to {video.frames - 1}, asked for "
            f"{list(map(int, indices))[:8]}; sample clips with nonlocalnet.data.sampling"
        )
    height, width = scaled_size(video.height, video.width, short_side)
    stored = (width, height) if video.rotation % 2 else (height, width)
    found: dict[int, np.ndarray] = {}
    # One scaler for all frames: setting one up costs more than scaling a small frame.
    scaler = require("av.video.reformatter", "reading videos", "video").VideoReformatter()
    with _container(video.path) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        stream.codec_context.thread_count = threads
        pick = _stamped_frames if video.stamps.size else _counted_frames
        for index, frame in pick(video, container, stream, wanted):
            picture = scaler.reformat(
                frame, stored[1], stored[0], "rgb24", interpolation="BILINEAR", threads=1
            )
            found[index] = np.rot90(picture.to_ndarray(), video.rotation)
    if not found:
        raise BadVideo(f"{video.path}: none of frames {wanted[0]} to {wanted[-1]} can be decoded")
    known = np.array(sorted(found))
    near = known[np.maximum(np.searchsorted(known, np.asarray(indices), side="right") - 1, 0)]
    return np.stack([found[int(index)] for index in near])


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


def _counted_frames(video: Video, container, stream, wanted: np.ndarray) -> Iterator[tuple]:
    """(index, frame) of each wanted frame, counted from the start; or the last one there was."""
    keep, found = set(wanted.tolist()), (-1, None)
    for found in enumerate(_decode(container, stream, video.path)):
        if found[0] in keep:
            yield found
        if found[0] == wanted[-1]:
            return
    if found[1] is not None:
        yield found


def _stamped_frames(video: Video, container, stream, wanted: np.ndarray) -> Iterator[tuple]:
    """(index, frame) of each wanted frame, by its time stamp; where the file ends early, its last.

    Seeks only where that skips at least one key frame.
    """
    frames, frame = iter(()), None
    for index in wanted.tolist():
        stamp = int(video.stamps[index])
        if frame is None or frame.pts < stamp:
            key = int(np.searchsorted(video.key_stamps, stamp, side="right")) - 1
            here = np.searchsorted(video.key_stamps, frame.pts, side="right") if frame else -1
            if key > here:
                frames = _frames_from(video, container, stream, max(key, 0), stamp)
            for frame in frames:
                if frame.pts >= stamp:
                    break
            else:
                if frame is not None:
                    yield int(np.searchsorted(video.stamps, frame.pts)), frame
                return
        if frame.pts == stamp:
            yield index, frame


def _frames_from(video: Video, container, stream, key: int, stamp: int) -> Iterator:
    """Frames with stamps from a key frame on; from the start where the seek overshoots `stamp`."""
    starts = (
        [int(video.stamps[0])] if key == 0 else [int(video.key_stamps[key]), int(video.stamps[0])]
    )
    frames: Iterator = iter(())
    for start in starts:
        decoded = _decode(container, stream, video.path, seek_to=start)
        frames = (frame for frame in decoded if frame.pts is not None)
        first = next(frames, None)
        if first is not None and first.pts <= stamp:
            return itertools.chain([first], frames)
    return frames


def _decode(container, stream, path: Path, seek_to: int | None = None) -> Iterator:
    """Decoded frames in order; damaged packets are passed over."""
    from av.error import FFmpegError

    if seek_to is not None:
        try:
            container.seek(seek_to, stream=stream, backward=True)
        except FFmpegError:
            container.seek(0)
    for packet in _packets(container, stream, path):
        try:
            yield from packet.decode()
        except FFmpegError:
            continue


def _packets(container, stream, path: Path) -> Iterator:
    from av.error import FFmpegError

    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
        except FFmpegError:
            return  # the file ends early; what came before counts
        if packet is None:
            return
        yield packet


def _container(path: Path):
    """An open container with a video stream, or one sentence about why there is none."""
    av = require("av", "reading videos", "video")
    errors = require("av.error", "reading videos", "video")
    if not path.exists():
        raise BadVideo(f"{path}: no such file; check the path")
    if path.is_dir():
        raise BadVideo(f"{path}: a folder, where one video file was expected")
    if path.stat().st_size == 0:
        raise BadVideo(f"{path}: the file is empty (0 bytes); copy or download it again")
    try:
        container = av.open(str(path), metadata_errors="replace")
    except (errors.FFmpegError, OSError, ValueError) as error:
        raise BadVideo(
            f"{path}: not a video that FFmpeg can read ({_reason(error)}); "
            "play it or re-encode it to see what it is"
        ) from None
    if not container.streams.video:
        kinds = ", ".join(sorted({s.type for s in container.streams})) or "nothing"
        container.close()
        raise BadVideo(f"{path}: no video stream in it, only {kinds}; give a file with pictures")
    return container


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error).splitlines()[0]
