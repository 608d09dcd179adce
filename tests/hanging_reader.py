"""A reader that hangs on files named hang*, and takes its process down on those named crash*."""

import os
import time

from nonlocalnet.data.readers import pyav
from nonlocalnet.data.readers.pyav import library, read, seconds

__all__ = ["library", "open_source", "read", "seconds"]


def open_source(path, fps):
    if path.name.startswith("hang"):
        time.sleep(600)
    if path.name.startswith("crash"):
        os.abort()
    return pyav.open_source(path, fps)
