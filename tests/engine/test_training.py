"""Training is a function of the seed: whatever workers, interruptions and resumptions."""

import csv
import shutil

import pytest
import torch

import nonlocalnet as nln
from nonlocalnet.data.clips import ClipConfig
from nonlocalnet.data.folder import read_folder
from nonlocalnet.data.sets import TestVideos, TrainClips
from nonlocalnet.engine.sampler import StepBatches
from nonlocalnet.engine.training import train

CLIP = ClipConfig(frames=4, stride=2, crop=32, short_side=(32, 40), test_short_side=32, flip=False)


class PowerCut(RuntimeError):
    """What the interrupted runs die of."""


class Fragile(TrainClips):
    """Training clips that end the run when the item of a certain step is asked for."""

    dies_at: tuple[int, int] | None = None

    def __getitem__(self, key):
        if key == self.dies_at:
            raise PowerCut
        return super().__getitem__(key)


def run(bars, out, *, dies_at=None, workers=0, **changes):
    folder = read_folder(bars)
    clips = Fragile(folder.splits["train"], CLIP, 3)
    clips.dies_at = dies_at
    torch.manual_seed(0)
    settings = {"steps": 8, "batch": 4, "lr": 0.02, "warmup": 2, "choose_best": False}
    settings |= {"validate_every": 4, "checkpoint_every": 2, "seed": 3, "progress": False} | changes
    return train(
        nln.build("nl1_i3d_tiny", 2, width=4),
        clips,
        TestVideos(folder.splits["test"], CLIP, (1, 1)),
        out,
        labels=folder.labels,
        workers=workers,
        **settings,
    )


def rows(out):
    with (out / "metrics.csv").open() as file:
        return [
            {k: v for k, v in r.items() if k not in ("clips_per_second", "data_wait")}
            for r in csv.DictReader(file)
        ]


@pytest.fixture(scope="module")
def unbroken(bars, tmp_path_factory):
    out = tmp_path_factory.mktemp("unbroken")
    return run(bars, out), out


@pytest.mark.parametrize("steps_died_at", [(3,), (4, 5), (1, 7)])
def test_an_interrupted_run_ends_with_the_same_bits(bars, tmp_path, unbroken, steps_died_at):
    want, want_out = unbroken
    keys = list(StepBatches(size=10, batch=4, steps=8, seed=3))
    for step in steps_died_at:
        with pytest.raises(PowerCut):
            run(bars, tmp_path, dies_at=keys[step][0])
    got = run(bars, tmp_path)
    for (name, a), b in zip(want.state_dict().items(), got.state_dict().values(), strict=True):
        assert torch.equal(a, b), name
    assert rows(tmp_path) == rows(want_out)
    last = [torch.load(o / "last.ckpt", weights_only=True) for o in (want_out, tmp_path)]
    for a, b in zip(*(c["optimizer_states"][0]["state"].values() for c in last), strict=True):
        assert torch.equal(a["momentum_buffer"], b["momentum_buffer"])


def test_workers_change_nothing(bars, tmp_path, unbroken):
    got = run(bars, tmp_path, workers=2)
    for a, b in zip(unbroken[0].state_dict().values(), got.state_dict().values(), strict=True):
        assert torch.equal(a, b)


def test_the_model_file_holds_what_was_trained(unbroken):
    model, out = unbroken
    classifier = nln.load(out)
    assert classifier.labels == ["down", "up"]
    assert classifier.clip == CLIP
    for a, b in zip(
        model.state_dict().values(), classifier.model.state_dict().values(), strict=True
    ):
        assert torch.equal(a, b)


def test_every_parameter_learns(bars, tmp_path, unbroken):
    torch.manual_seed(0)
    start = nln.build("nl1_i3d_tiny", 2, width=4).state_dict()
    for name, value in unbroken[0].named_parameters():
        if not name.endswith((".phi.bias", ".w_z.bias")):  # softmax and BN cancel these two
            assert not torch.equal(value, start[name]), name


def test_validation_chooses_only_where_it_may(bars, tmp_path):
    """With a validation split the lowest error is kept, without one the last weights are."""
    run(bars, tmp_path, choose_best=True, lr=1e-6)
    chosen = nln.load(tmp_path).model.state_dict()
    errors = [row["val_error"] for row in rows(tmp_path) if row["val_error"]]
    assert errors[0] == errors[1]  # nothing was learnt, so the first of equals stays
    last = torch.load(tmp_path / "last.ckpt", weights_only=True)["state_dict"]
    assert not torch.equal(chosen["conv1.weight"], last["model.conv1.weight"])


def test_warm_up_longer_than_the_run_is_an_error(bars, tmp_path):
    with pytest.raises(ValueError, match="warm-up of 9 steps in a run of 8"):
        run(bars, tmp_path, warmup=9)


def test_ranks_share_each_step_out():
    one = list(StepBatches(size=7, batch=6, steps=5, seed=1))
    two = [list(StepBatches(size=7, batch=3, steps=5, seed=1, rank=r, world=2)) for r in (0, 1)]
    assert [a + b for a, b in zip(*two, strict=True)] == one


def test_unreadable_videos_are_replaced_and_named(bars, tmp_path, capsys):
    folder = copy_of(bars, tmp_path / "data")
    bad = folder.splits["train"][4].video.path
    bad.write_bytes(b"no video any more")
    settings = {"steps": 8, "batch": 4, "lr": 0.02, "warmup": 2, "choose_best": False}
    settings |= {"validate_every": 4, "checkpoint_every": 2, "seed": 3, "progress": False}

    def again(out, max_bad):
        torch.manual_seed(0)
        return train(
            nln.build("nl1_i3d_tiny", 2, width=4),
            TrainClips(folder.splits["train"], CLIP, 3),
            TestVideos(folder.splits["test"], CLIP, (1, 1)),
            out,
            labels=folder.labels,
            max_bad=max_bad,
            **settings,
        )

    first, second = again(tmp_path / "a", 0.1), again(tmp_path / "b", 0.1)
    for a, b in zip(first.state_dict().values(), second.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    assert f"1 unreadable, others took their places:\n  1 x {bad}" in capsys.readouterr().out
    with pytest.raises(ValueError, match=f"1 of 10 training videos .* first: {bad}"):
        again(tmp_path / "c", 0.05)


def copy_of(bars, root):
    shutil.copytree(bars, root)
    return read_folder(root)
