"""Frames through PyAV, whose wheels carry FFmpeg: the default reader.

The numbers come from the time stamps of all packets (read without decoding), so a seek never
returns a wrong frame, and a variable frame rate or a first time stamp other than zero needs no
special case. Containers without trustworthy time stamps (AVI) are decoded from the start and
counted. Frames that are neither wanted nor referenced by others are not decoded at all.
"""

import itertools
import re
from array import array
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import numpy as np

from nonlocalnet.data.optional import require
from nonlocalnet.data.video import BadVideo, Video

# Decoders that may be told packet by packet to pass over a frame that no other one refers to.
SKIPS_UNREFERENCED = frozenset({"h264", "hevc", "mpeg4"})


class Index(NamedTuple):
    """The packets of a stream, in the order shown."""

    frames: int
    hidden: int  # packets that show nothing: an edit list says so, or XviD's filler of one byte
    stamps: np.ndarray  # (frames,) int64 ticks, ascending; empty: count frames instead
    key_stamps: np.ndarray  # those of the key frames


def library() -> ModuleType:
    """PyAV.

    Raises:
        MissingLibrary: It is not installed.
    """
    return require("av", "reading videos", "video")


def open_source(path: Path, fps: float) -> Video:
    """Reads all packets and decodes one frame.

    Raises:
        BadVideo: Not a video, no video stream, no frame.
    """
    with _container(path) as container:
        stream = container.streams.video[0]
        index = _index(container, stream, path)
        rate = float(stream.average_rate or stream.base_rate or 0)
        if index.stamps.size > 1:
            rate = (index.frames - 1) / float(np.ptp(index.stamps) * stream.time_base)
        elif not rate:
            raise BadVideo(path, "neither a frame rate nor time stamps; re-encode it")
        first = next(_decode(container, stream, seek_to=0), None) or next(
            _frames_anew(path, 1), None
        )
        if first is None:
            raise BadVideo(path, f"not one of its {index.frames} frames can be decoded")
        upright = (first.height, first.width)[:: -1 if _turns(first) % 2 else 1]
        return Video(
            path=path,
            reader="pyav",
            frames=index.frames,
            fps=rate,
            height=upright[0],
            width=upright[1],
            expected=_promised(stream, rate) - index.hidden,
        )


def read(
    video: Video, wanted: np.ndarray, size: tuple[int, int], threads: int
) -> Iterator[tuple[int, np.ndarray]]:
    """Pairs (index, picture) of the wanted frames, which are ascending.

    Raises:
        BadVideo: The file went away or has changed.
    """
    # Scalers for all frames: setting one up costs more than scaling a small frame.
    make = require("av.video.reformatter", "reading videos", "video").VideoReformatter
    enlarge, convert = make(), make()
    with _container(video.path) as container:
        stream = container.streams.video[0]
        index = _index(container, stream, video.path)
        if index.frames <= wanted[-1]:
            raise BadVideo(
                video.path, f"has {index.frames} frames now, had {video.frames}; check it again"
            )
        stream.thread_type = "AUTO"
        stream.codec_context.thread_count = threads
        if index.stamps.size:
            picked = _stamped_frames(index, container, stream, wanted)
        else:
            picked = _counted_frames(video.path, wanted, threads)
        for number, frame in picked:
            turns = _turns(frame)
            height, width = size[::-1] if turns % 2 else size
            if height > frame.height and frame.format.name.startswith("yuv"):
                # In two steps three times as fast, and the colours are no finer than these anyway.
                frame = enlarge.reformat(
                    frame, width, height, frame.format.name, interpolation="BILINEAR", threads=1
                )
            picture = convert.reformat(
                frame, width, height, "rgb24", interpolation="BILINEAR", threads=1
            )
            yield number, np.rot90(picture.to_ndarray(), turns)


def seconds(video: Video) -> np.ndarray:  # (frames,) float64
    """By the time stamps; by the frame rate where they are not to be trusted."""
    with _container(video.path) as container:
        stream = container.streams.video[0]
        index = _index(container, stream, video.path)
        if not index.stamps.size:
            return np.arange(index.frames) / video.fps
        return (index.stamps - index.stamps[0]) * float(stream.time_base)


def _turns(frame) -> int:
    """Quarter turns, counter-clockwise, that make the stored picture upright."""
    return round(frame.rotation / 90) % 4


def _promised(stream, rate: float) -> int:
    """Frames by the header's count, or by the duration that Matroska writes there instead."""
    duration = re.fullmatch(r"(\d+):(\d+):([\d.]+)", stream.metadata.get("DURATION", ""))
    if stream.frames or not duration:
        return stream.frames
    hours, minutes, seconds = map(float, duration.groups())
    span = 3600 * hours + 60 * minutes + seconds
    return max(0, round((span - (stream.start_time or 0) * float(stream.time_base)) * rate) - 1)


def _index(container, stream, path: Path) -> Index:
    filler = 1 if stream.codec_context.name == "mpeg4" else 0  # bytes
    stamps, keys, hidden, trusted = array("q"), bytearray(), 0, "avi" not in container.format.name
    for packet in _packets(container, stream):  # none is kept: together they are the whole file
        if packet.size == 0:
            continue
        if packet.is_discard or packet.size <= filler:
            hidden += 1
            continue
        trusted = trusted and packet.pts is not None
        stamps.append(-1 if packet.pts is None else packet.pts)
        keys.append(packet.is_keyframe)
    if not stamps:
        raise BadVideo(path, "the video stream holds no frame; record or download it again")
    shown = np.array(stamps, dtype=np.int64)
    if not trusted or len(np.unique(shown)) < len(shown):
        return Index(len(shown), hidden, shown[:0], shown[:0])
    return Index(len(shown), hidden, np.sort(shown), np.sort(shown[np.array(keys, dtype=bool)]))


def _counted_frames(path: Path, wanted: np.ndarray, threads: int) -> Iterator:
    """(number, frame) of each wanted frame, counted from the start; or the last one there was.

    Opens the file anew: without an index to trust, going back to its start is not to be either.
    """
    keep, found = set(wanted.tolist()), (-1, None)
    for found in enumerate(_frames_anew(path, threads)):
        if found[0] in keep:
            yield found
        if found[0] == wanted[-1]:
            return
    if found[1] is not None:
        yield found


def _stamped_frames(index: Index, container, stream, wanted: np.ndarray) -> Iterator:
    """(number, frame) of each wanted frame by its time stamp; where the file ends early, its last.

    Seeks only where that skips at least one key frame.
    """
    keep = set(index.stamps[wanted].tolist())
    frames, frame = iter(()), None
    for number in wanted.tolist():
        stamp = int(index.stamps[number])
        if frame is None or frame.pts < stamp:
            key = int(np.searchsorted(index.key_stamps, stamp, side="right")) - 1
            here = np.searchsorted(index.key_stamps, frame.pts, side="right") if frame else -1
            if key > here:
                frames = _frames_from(index, container, stream, max(key, 0), stamp, keep)
            for frame in frames:
                if frame.pts >= stamp:
                    break
            else:
                if frame is not None:
                    yield int(np.searchsorted(index.stamps, frame.pts)), frame
                return
        if frame.pts == stamp:
            yield number, frame


def _frames_from(index: Index, container, stream, key: int, stamp: int, keep: set[int]) -> Iterator:
    """Frames with stamps from a key frame on; from the start where the seek overshoots `stamp`.

    Where going back to the start overshoots too (transport streams), the file is opened anew.
    """
    starts = [int(index.stamps[0])]
    if key > 0:
        starts.insert(0, int(index.key_stamps[key]))
    for start in starts:
        decoded = _decode(container, stream, seek_to=start, keep=keep)
        frames = (frame for frame in decoded if frame.pts is not None)
        first = next(frames, None)
        if first is not None and first.pts <= stamp:
            return itertools.chain([first], frames)
    threads = stream.codec_context.thread_count
    anew = _frames_anew(Path(container.name), threads, keep)
    return (frame for frame in anew if frame.pts is not None)


def _frames_anew(path: Path, threads: int, keep: set[int] | None = None) -> Iterator:
    """Frames from the start of a file that is opened for them."""
    with _container(path) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        stream.codec_context.thread_count = threads
        yield from _decode(container, stream, keep=keep)


def _decode(
    container, stream, seek_to: int | None = None, keep: set[int] | None = None
) -> Iterator:
    """Decoded frames in order; damaged packets are passed over.

    With `keep`, frames that are not in it come out only where others refer to them.
    """
    from av.error import FFmpegError

    context = stream.codec_context
    skips = keep is not None and context.name in SKIPS_UNREFERENCED
    if seek_to is not None:
        try:
            container.seek(seek_to, stream=stream, backward=True)
        except FFmpegError:
            try:
                container.seek(0)
            except FFmpegError:  # a damaged file whose start cannot be found again
                return
    for packet in _packets(container, stream):
        if skips:
            unwanted = packet.pts is not None and packet.pts not in keep
            context.skip_frame = "NONREF" if unwanted else "DEFAULT"
        try:
            yield from packet.decode()
        except FFmpegError:
            continue


def _packets(container, stream) -> Iterator:
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
    av = library()
    errors = require("av.error", "reading videos", "video")
    try:
        container = av.open(str(path), metadata_errors="replace")
    except FileNotFoundError:
        raise BadVideo(path, "no such file; check the path", "missing") from None
    except (errors.FFmpegError, OSError, ValueError) as error:
        reason = str(getattr(error, "strerror", None) or error).splitlines()[0]
        raise BadVideo(
            path,
            f"not a video that FFmpeg can read ({reason}); "
            "play it or re-encode it to see what it is",
        ) from None
    if not container.streams.video:
        kinds = ", ".join(sorted({s.type for s in container.streams})) or "nothing"
        container.close()
        raise BadVideo(
            path,
            f"no video stream in it, only {kinds}; give a file with pictures",
            "no video stream",
        )
    if container.streams.video[0].codec_context is None:
        container.close()
        raise BadVideo(path, "FFmpeg knows no decoder for its pictures; re-encode it")
    return container
