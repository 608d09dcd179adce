"""Ordinary clips from elsewhere: any frame is the same however it is reached."""

from pathlib import Path

import numpy as np
import pytest

from nonlocalnet.data.check import examine
from nonlocalnet.data.optional import MissingLibrary
from nonlocalnet.data.video import BadVideo, open_video, read_frames

CLIPS = Path(__file__).parents[3] / "shared" / "data" / "clips"
FILES = sorted(CLIPS.glob("*.*"))


@pytest.mark.skipif(not FILES, reason=f"needs the real clips of {CLIPS}")
@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem[:20])
def test_a_frame_is_the_same_alone_and_in_sequence(path):
    video = open_video(path)
    last = min(video.frames, 90) - 1
    together = read_frames(video, range(last + 1), short_side=64)
    for index in (0, last // 3, last // 2, last):
        alone = read_frames(video, [index], short_side=64)[0]
        np.testing.assert_array_equal(alone, together[index])
    steps = np.abs(np.diff(together.astype(int), axis=0)).mean((1, 2, 3))
    assert np.median(steps) < 40  # neighbours resemble each other: no frame out of order


@pytest.mark.skipif(not FILES, reason=f"needs the real clips of {CLIPS}")
@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem[:20])
@pytest.mark.parametrize("reader", ["pyav", "opencv", "torchcodec"])
def test_check_finds_no_fault_in_them(path, reader):
    """The XviD files of HMDB51 among them, which torchcodec leaves to the others."""
    try:
        open_video(path, reader)
    except MissingLibrary as error:
        pytest.skip(str(error))
    except BadVideo as error:
        assert reader == "torchcodec" and "use the reader pyav" in str(error)
        return
    row = examine(CLIPS, reader, 8, path.name)
    assert (row.state, row.reason) == ("ok", "")
    assert row.frames == open_video(path).frames
