"""Training is a function of the seed: whatever workers, interruptions and resumptions."""

import copy
import csv
import shutil
from dataclasses import fields, replace
from functools import partial

import pytest
import torch

import nonlocalnet as nln
from nonlocalnet.data.clips import ClipConfig, to_input
from nonlocalnet.data.folder import read_folder
from nonlocalnet.data.sets import TestVideos, TrainClips
from nonlocalnet.engine import module
from nonlocalnet.engine.logs import MetricsCSV, read_metrics
from nonlocalnet.engine.loop import Loop
from nonlocalnet.engine.sampler import StepBatches
from nonlocalnet.engine.schedule import cosine
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


ONE_CLIP = (1, 1)
LOOP = Loop(
    steps=8,
    batch=4,
    lr=0.02,
    schedule=partial(cosine, steps=8, warmup=2),
    validate_every=4,
    checkpoint_every=2,
    workers=0,
    seed=3,
    progress=False,
)


def run(bars, out, *, dies_at=None, model=None, **changes):
    folder = read_folder(bars)
    clips = Fragile(folder.splits["train"], CLIP, 3)
    clips.dies_at = dies_at
    torch.manual_seed(0)
    names = changes.keys() & {field.name for field in fields(Loop)}
    return train(
        model or nln.build("nl1_i3d_tiny", 2, width=4),
        clips,
        TestVideos(folder.splits["test"], CLIP, ONE_CLIP),
        out,
        replace(LOOP, **{name: changes.pop(name) for name in names}),
        labels=folder.labels,
        **{"choose_best": False, **changes},
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


def test_metrics_are_whole_where_a_resume_dies_while_it_cuts_them(tmp_path, monkeypatch):
    metrics = MetricsCSV(tmp_path / "metrics.csv", ("loss",))
    metrics.begin(0)
    for step in range(3):
        metrics.log_metrics({"loss": 1.0}, step)
    before = metrics.path.read_bytes()

    def power_cut(*_):
        raise PowerCut

    with monkeypatch.context() as patch, pytest.raises(PowerCut):
        patch.setattr(csv.DictWriter, "writerows", power_cut)
        metrics.begin(2)
    assert metrics.path.read_bytes() == before
    metrics.begin(2)
    assert [row["step"] for row in read_metrics(metrics.path)] == ["0", "1"]


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


def test_ranks_and_accumulated_batches_share_each_step_out():
    one = list(StepBatches(size=7, batch=6, steps=5, seed=1))
    two = [list(StepBatches(size=7, batch=3, steps=5, seed=1, rank=r, world=2)) for r in (0, 1)]
    assert [a + b for a, b in zip(*two, strict=True)] == one
    parts = list(StepBatches(size=7, batch=2, steps=5, seed=1, accumulate=3))
    assert [a + b + c for a, b, c in zip(*[iter(parts)] * 3, strict=True)] == one
    again = StepBatches(size=7, batch=2, steps=5, seed=1, accumulate=3, first_step=lambda: 3)
    assert list(again) == parts[9:]


def test_balanced_epochs_hold_every_class_equally_often():
    classes = [0] * 20 + [1] * 3 + [2]
    batches = StepBatches(size=24, batch=24, steps=4, seed=1, classes=classes)
    for epoch in batches:
        drawn = [classes[index] for _, index in epoch]
        assert [drawn.count(name) for name in (0, 1, 2)] == [8, 8, 8]
        assert len({index for _, index in epoch}) == 8 + 3 + 1
    assert len({tuple(epoch) for epoch in batches}) == 4


def frozen():
    model = nln.build("nl1_i3d_tiny", 2, width=4, dropout=0.0)
    for name, parameter in model.named_parameters():
        if name.endswith(("bn3.weight", "norm.weight")):  # zero at the start
            torch.nn.init.constant_(parameter, 0.5)
    nln.freeze_bn(model)
    return model


def test_accumulated_batches_are_one_large_batch(bars, tmp_path):
    """Frozen batch norm and no dropout: then nothing knows how a step's clips were shared out."""
    torch.manual_seed(0)
    large = run(bars, tmp_path / "large", model=frozen())
    torch.manual_seed(0)
    parts = run(bars, tmp_path / "parts", model=frozen(), batch=1, accumulate=4)
    for a, b in zip(large.parameters(), parts.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)
    for a, b in zip(rows(tmp_path / "large"), rows(tmp_path / "parts"), strict=True):
        assert a.keys() == b.keys()
        assert [bool(v) for v in a.values()] == [bool(v) for v in b.values()]
        want, got = ([float(r[k] or 0) for k in ("train_loss", "val_loss", "lr")] for r in (a, b))
        assert got == pytest.approx(want, rel=1e-5)


@pytest.mark.parametrize("batches_died_at", [(6,), (12,), (7, 7)])
def test_an_interrupted_run_that_accumulates_ends_with_the_same_bits(
    bars, tmp_path, batches_died_at
):
    changes = {"batch": 2, "accumulate": 2, "checkpoint_every": 3}
    want = run(bars, tmp_path / "whole", **changes)
    keys = list(StepBatches(size=10, batch=2, steps=8, seed=3, accumulate=2))
    for batch in batches_died_at:
        with pytest.raises(PowerCut):
            run(bars, tmp_path / "cut", dies_at=keys[batch][0], **changes)
    got = run(bars, tmp_path / "cut", **changes)
    for a, b in zip(want.state_dict().values(), got.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    assert rows(tmp_path / "cut") == rows(tmp_path / "whole")


def test_a_run_killed_in_its_validation_repeats_it(bars, tmp_path, monkeypatch):
    want = run(bars, tmp_path / "whole", choose_best=True)
    scores = module.video_scores
    calls = iter(range(100))

    def power_cut(*arguments, **options):
        if next(calls) == 2:
            raise PowerCut
        return scores(*arguments, **options)

    monkeypatch.setattr(module, "video_scores", power_cut)
    with pytest.raises(PowerCut):
        run(bars, tmp_path / "cut", choose_best=True)
    monkeypatch.undo()
    got = run(bars, tmp_path / "cut", choose_best=True)
    for a, b in zip(want.state_dict().values(), got.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    assert rows(tmp_path / "cut") == rows(tmp_path / "whole")
    files = [(tmp_path / out / "best.safetensors").read_bytes() for out in ("whole", "cut")]
    assert files[0] == files[1]


@pytest.mark.parametrize("stop", [3, 4])
def test_a_run_stops_where_it_is_told_and_goes_on_from_there(bars, tmp_path, unbroken, stop):
    run(bars, tmp_path, max_steps=stop)
    assert torch.load(tmp_path / "last.ckpt", weights_only=True)["global_step"] == stop
    got = run(bars, tmp_path)
    for a, b in zip(unbroken[0].state_dict().values(), got.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    looked = [row for row in rows(tmp_path) if row["val_error"] and row["step"] == "2"]
    assert len(looked) == (stop == 3)  # a stop is validated too
    assert [row for row in rows(tmp_path) if row not in looked] == rows(unbroken[1])


def test_the_log_says_which_step_and_pass_every_row_is_of(unbroken):
    steps = [int(row["step"]) for row in rows(unbroken[1])]
    assert sorted(set(steps)) == list(range(8))
    assert [int(row["step"]) for row in rows(unbroken[1]) if row["val_error"]] == [3, 7]
    for row in rows(unbroken[1]):
        assert int(row["epoch"]) == int(row["step"]) * 4 // 10  # batches of 4 of 10 videos


def test_what_the_blocks_do_is_in_the_log(unbroken):
    first, second = (row for row in rows(unbroken[1]) if row["val_error"])
    names = [name for name in first if name.endswith(("gamma", "branch_ratio", "entropy"))]
    assert names == [f"res3.0.nonlocal_block.{k}" for k in ("gamma", "branch_ratio", "entropy")]
    for name in names[:2]:  # awake, and waking up
        assert 0 < float(first[name]) < float(second[name])


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_evidence(bars, tmp_path):
    model = nln.build("nl1_i3d_tiny", 2, width=4)
    with pytest.raises(ValueError, match=r"at step \d; its batch came from .*\.mp4") as caught:
        run(bars, tmp_path, model=model, lr=1e30)
    kept = torch.load(tmp_path / "nonfinite.pt", weights_only=True)
    assert kept["clips"].shape == (4, 4, 32, 32, 3)
    assert all(name in str(caught.value) for name in kept["files"])
    model.load_state_dict(kept["state_dict"])
    with pytest.raises(ValueError, match="at step 0"):  # the evidence repeats the failure
        loss = torch.nn.functional.cross_entropy(
            model.train()(to_input(kept["clips"], CLIP)), kept["labels"]
        )
        loss.backward()
        norm = torch.nn.utils.get_total_norm([p.grad for p in model.parameters()])
        if not (torch.isfinite(loss) and torch.isfinite(norm)):
            raise ValueError("at step 0")


def test_validation_without_progress_stops_early(bars, tmp_path):
    run(bars, tmp_path, choose_best=True, lr=0.0, validate_every=1, patience=2)
    assert torch.load(tmp_path / "last.ckpt", weights_only=True)["global_step"] == 3


def test_label_smoothing_spreads_a_share_of_the_label_over_all_classes(bars, tmp_path):
    torch.manual_seed(0)
    model = nln.build("nl1_i3d_tiny", 2, width=4, dropout=0.0)
    fresh = copy.deepcopy(model).train()
    run(bars, tmp_path, model=model, label_smoothing=0.2)
    data = TrainClips(read_folder(bars).splits["train"], CLIP, 3)
    items = [data[key] for key in next(iter(StepBatches(size=10, batch=4, steps=8, seed=3)))]
    with torch.no_grad():
        chances = fresh(to_input(torch.stack([item.clip for item in items]), CLIP)).log_softmax(1)
    own = chances[range(4), [int(item.label) for item in items]]
    want = -(0.8 * own + 0.2 * chances.mean(1)).mean()
    assert float(rows(tmp_path)[0]["train_loss"]) == pytest.approx(float(want), rel=1e-4)


def test_precise_batch_norm_sets_the_statistics_before_validation(bars, tmp_path):
    """A learning rate of zero: weights stay, so the statistics must be those of the clips alone."""
    got = run(bars, tmp_path, lr=0.0, precise_bn_batches=5)
    folder = read_folder(bars)
    clips = TrainClips(folder.splits["train"], CLIP, 3)
    which = StepBatches(size=10, batch=4, steps=13, seed=4, first_step=lambda: 8)
    batches = [torch.stack([clips[key].clip for key in keys]) for keys in which]
    want = {name: value.clone() for name, value in got.state_dict().items()}
    nln.precise_bn(got, [to_input(batch, CLIP) for batch in batches])
    for name, value in got.state_dict().items():
        torch.testing.assert_close(value, want[name])


def test_unreadable_videos_are_replaced_and_named(bars, tmp_path, capsys):
    folder = copy_of(bars, tmp_path / "data")
    bad = folder.splits["train"][4].video.path
    bad.write_bytes(b"no video any more")

    def again(out, max_bad):
        torch.manual_seed(0)
        return train(
            nln.build("nl1_i3d_tiny", 2, width=4),
            TrainClips(folder.splits["train"], CLIP, 3),
            TestVideos(folder.splits["test"], CLIP, ONE_CLIP),
            out,
            LOOP,
            labels=folder.labels,
            choose_best=False,
            max_bad=max_bad,
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
