"""What is done with an uploaded video, in a process that holds the network and can be killed."""

import sys
from pathlib import Path
from typing import Any

from nonlocalnet.data.optional import require
from nonlocalnet.data.video import BadVideo, open_video
from nonlocalnet.engine.classifier import Classifier, load
from nonlocalnet.engine.timeline import timeline
from nonlocalnet.nn.insert import nonlocal_blocks
from nonlocalnet.recipes.explorer import write_page
from nonlocalnet.web.limits import Limits

LABELS = 5
_loaded: list[Classifier] = []  # by `begin`, once for each process


def begin(model: str, limits: Limits) -> None:
    """Loads the network; from then on the process may take `limits.memory` more."""
    _loaded.append(load(model))
    if sys.platform == "linux":
        import resource

        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
        most = pages * resource.getpagesize() + int(limits.memory * 2**30)
        hard = resource.getrlimit(resource.RLIMIT_AS)[1]  # only root may raise it
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(resource.RLIMIT_AS, (most, hard))


def answer(upload: Path, page: Path, limits: Limits) -> dict[str, Any]:
    """Labels and timeline of a video, and its explorer page where the network has a block.

    Raises:
        BadVideo: It cannot be read, or is more than the limits allow.
        ValueError: The network cannot take it.
    """
    classifier = _loaded[0]
    examine(upload, limits)
    prediction = classifier.predict(upload, reader="pyav")
    found = timeline(classifier, upload, reader="pyav")
    explored = bool(nonlocal_blocks(classifier.model))
    if explored:
        write_page(classifier, upload, page, title="Where the network looked", reader="pyav")
    top = prediction.top(LABELS)
    said = found.as_dict()
    del said["path"]  # of this machine
    return {
        **said,
        "top": [{"label": label, "score": score} for label, score in top],
        "explorer": explored,
    }


def examine(upload: Path, limits: Limits) -> None:
    """Refuses what is too much: by the container alone, before a picture is decoded for us.

    Raises:
        BadVideo: Frames too large or too many, too long, or no video.
    """
    av = require("av", "reading uploads", "video")
    try:
        with av.open(str(upload), metadata_errors="replace") as container:
            contexts = [stream.codec_context for stream in container.streams.video]
            sizes = [(c.width, c.height) for c in contexts if c is not None]
    except (OSError, ValueError):
        sizes = []  # `open_video` says what is wrong
    for width, height in sizes:
        if width * height > limits.pixels:
            raise BadVideo(
                upload,
                f"its frames are {width}x{height} px; up to {limits.pixels:,} px in all are taken",
            )
    video = open_video(upload, "pyav")
    if video.frames > limits.frames:
        raise BadVideo(upload, f"it has {video.frames:,} frames; up to {limits.frames:,} are taken")
    seconds = float(video.seconds[-1])
    if seconds > limits.video_seconds:
        raise BadVideo(
            upload, f"it is {seconds:.0f} s long; up to {limits.video_seconds:g} s are taken"
        )
