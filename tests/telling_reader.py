"""PyAV, leaving a file `NAME.decoded` beside each video when its frames have been read."""

from nonlocalnet.data.readers.pyav import library, open_source, seconds
from nonlocalnet.data.readers.pyav import read as read_frames

__all__ = ["library", "open_source", "read", "seconds"]


def read(video, wanted, size, threads):
    yield from read_frames(video, wanted, size, threads)
    video.path.with_suffix(".decoded").touch()
