"""The loader: the same batches from any number and kind of workers, bad files or not."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader
from videos import write_video

from nonlocalnet.data.clips import ClipConfig, training_view
from nonlocalnet.data.folder import Sample
from nonlocalnet.data.sets import TrainClips
from nonlocalnet.data.video import BadVideo, open_video
from nonlocalnet.engine.sampler import StepBatches
from nonlocalnet.engine.workers import faults_of_workers

CLIP = ClipConfig(frames=4, stride=3, crop=32, short_side=(36, 48), test_short_side=36)


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    root = tmp_path_factory.mktemp("clips")
    samples = [
        Sample(video=open_video(write_video(root / f"{i}.mp4", 12 + 3 * i)), label=i % 3)
        for i in range(9)
    ]
    (root / "4.mp4").write_bytes(b"no longer a video")
    (root / "7.mp4").unlink()
    return TrainClips(samples, CLIP, seed=5)


def epoch(clips, workers, context):
    batches = StepBatches(size=len(clips), batch=3, steps=6, seed=5)
    loader = DataLoader(
        clips, batch_sampler=batches, num_workers=workers, multiprocessing_context=context
    )
    return list(loader)


@pytest.mark.filterwarnings("ignore:This DataLoader will create 4 worker")
@pytest.mark.parametrize(
    ("workers", "context"), [(1, "fork"), (4, "fork"), (1, "spawn"), (4, "spawn")]
)
def test_workers_change_no_bit(clips, workers, context):
    for want, got in zip(epoch(clips, 0, None), epoch(clips, workers, context), strict=True):
        assert torch.equal(want.clip, got.clip)
        assert torch.equal(want.label, got.label)
        assert torch.equal(want.index, got.index)
        assert want.faults == got.faults


def test_bad_files_are_replaced_and_the_good_ones_are_as_ever(clips):
    for number in range(3):
        for index in range(len(clips)):
            item = clips[number, index]
            if index not in (4, 7):
                want = training_view(
                    clips.samples[index].video, CLIP, np.random.default_rng((5, number, index))
                ).frames
                np.testing.assert_array_equal(item.clip.numpy(), want)
                assert (item.index, item.faults) == (index, "")
            else:
                name = clips.samples[index].video.path
                assert item.faults.startswith(f"{name}: ")
                assert int(item.index) not in (4, 7)
                assert item.label == clips.samples[int(item.index)].label


def test_a_set_without_one_readable_video_is_an_error(tmp_path):
    path = write_video(tmp_path / "v.mp4", 12)
    clips = TrainClips([Sample(video=open_video(path), label=0)], CLIP, 0)
    path.unlink()
    with pytest.raises(BadVideo, match="no such file"):
        clips[0, 0]


@pytest.mark.long
def test_five_thousand_reads_do_not_grow_memory(clips):
    def resident():
        return int(Path("/proc/self/statm").read_text().split()[1])

    for step in range(500):
        clips[step, step % 9]
    before = resident()
    for step in range(5000):
        clips[step, step % 9]
    assert resident() < 1.05 * before


@pytest.mark.parametrize("workers", [0, 1])
def test_where_every_video_went_away_a_worker_says_it_in_one_sentence(tmp_path, workers):
    samples = [Sample(video=open_video(write_video(tmp_path / "v.mp4", 12)), label=0)]
    (tmp_path / "v.mp4").unlink()
    loader = DataLoader(TrainClips(samples, CLIP, seed=0), sampler=[(0, 0)], num_workers=workers)
    with pytest.raises(ValueError, match=r"v\.mp4") as caught, faults_of_workers():
        next(iter(loader))
    assert "Traceback" not in str(caught.value)
