"""How views go through the network: one by one or in chunks, softmax before pooling or after."""

import json
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from networks import speaking
from videos import write_video

import nonlocalnet as nln
from nonlocalnet.cli.main import main
from nonlocalnet.data.clips import ClipConfig, even_views, to_input
from nonlocalnet.data.folder import read_folder
from nonlocalnet.data.video import open_video
from nonlocalnet.engine.protocol import Protocol
from nonlocalnet.engine.testing import over_views, run_test, scores_of_views, video_scores

CLIP = ClipConfig(frames=4, stride=2, crop=32, short_side=(32, 40), test_short_side=40)
LABELS = ["down", "never", "up"]


@pytest.fixture(scope="module")
def model():
    return speaking(3)


@pytest.fixture(scope="module")
def samples(bars):
    return [replace(s, label=2 * s.label) for s in read_folder(bars).splits["test"]]


@pytest.mark.parametrize("combine", ["mean", "max"])
@pytest.mark.parametrize("multi_label", [False, True])
@pytest.mark.parametrize("softmax", ["location", "pooled"])
def test_the_softmax_rules_by_a_loop(samples, model, softmax, multi_label, combine):
    """location: the mean of the places' scores; pooled: the score of the places' mean."""
    views = even_views(samples[1].video, replace(CLIP, test_short_side=72), 3, 3)
    weight, bias = model.fc.weight.detach().double(), model.fc.bias.detach().double()
    want = []
    for view in views:
        features = model.features(to_input(torch.from_numpy(view)[None], CLIP))[0].detach().double()
        places = features.mean(1).flatten(1).T  # (H'W', C): one cell is a window here
        assert len(places) > 1
        scored = []
        for place in [places.mean(0)] if softmax == "pooled" else places:
            powers = [float(row @ place + b) for row, b in zip(weight, bias, strict=True)]
            if multi_label:
                scored.append([1 / (1 + np.exp(-p)) for p in powers])
            else:
                scored.append([np.exp(p) / sum(np.exp(q) for q in powers) for p in powers])
        want.append(np.mean(scored, axis=0))
    want = np.mean(want, axis=0) if combine == "mean" else np.max(want, axis=0)
    each = scores_of_views(model, views, CLIP, multi_label, softmax=softmax)
    np.testing.assert_allclose(over_views(each, combine), want, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("softmax", ["location", "pooled"])
@pytest.mark.parametrize("chunk", [2, 4, 5, 100])
def test_a_chunk_changes_rounding_only(samples, model, softmax, chunk):
    views = even_views(samples[1].video, CLIP, 3, 3)
    alone = scores_of_views(model, views, CLIP, softmax=softmax)
    together = scores_of_views(model, views, CLIP, softmax=softmax, chunk=chunk)
    assert together.shape == (9, 3)
    torch.testing.assert_close(together, alone, atol=1e-4, rtol=0)
    assert not torch.allclose(alone[0], alone[-1], atol=1e-4)  # views are not all the same


def test_chunks_are_as_large_as_asked_and_hold_every_view(samples, model):
    sizes = []
    handle = model.register_forward_hook(lambda _, inputs, __: sizes.append(len(inputs[0])))
    views = even_views(samples[0].video, CLIP, 10, 1)
    for chunk in (1, 4, 10, 11):
        scores_of_views(model, views, CLIP, chunk=chunk)
    handle.remove()
    assert sizes == [1] * 10 + [4, 4, 2] + [10] + [10]


def test_results_name_their_protocol(samples, model):
    """And the scores are those of `scores_of_views` by that protocol."""
    protocol = Protocol.parse("2x3", "max", softmax="pooled")
    clip = replace(CLIP, starts="released")
    results = run_test(model, LABELS, samples, clip, protocol, chunk=4, workers=0)
    assert list(results["metrics"]) == ["top1@2x3x40-max-pooled"]
    said = results["protocol"]
    assert said["chunk"] == 4 and said["starts"] == "released"
    assert said["clip_starts"].startswith("int(j N / clips)")
    assert said["scores"] == "mean over locations, softmax, then the largest over views"
    for row, sample in zip(results["videos"], samples, strict=True):
        views = even_views(sample.video, clip, 2, 3)
        each = scores_of_views(model, views, clip, softmax="pooled", chunk=4)
        assert torch.equal(torch.tensor(row["scores"]), over_views(each, "max"))
    plain = run_test(model, LABELS, samples, CLIP, Protocol.parse("2x3"), workers=0)
    assert plain["protocol"]["chunk"] == 1
    for row, sample in zip(plain["videos"], samples, strict=True):
        scores = video_scores(model, even_views(sample.video, CLIP, 2, 3), CLIP)
        assert torch.equal(torch.tensor(row["scores"]), scores)


def test_every_view_has_its_rank(samples, model):
    """0 where the true label is first; of equal scores the earlier class is before the later."""
    results = run_test(model, LABELS, samples, CLIP, Protocol.parse("4x3"), workers=0)
    for row, sample in zip(results["videos"], samples, strict=True):
        each = scores_of_views(model, even_views(sample.video, CLIP, 4, 3), CLIP).tolist()
        want = [
            sum(other > view[sample.label] for other in view)
            + sum(view[k] == view[sample.label] for k in range(sample.label))
            for view in each
        ]
        assert row["clips"] == want
    assert len({rank for row in results["videos"] for rank in row["clips"]}) > 1


def test_equal_scores_rank_by_class(samples):
    """A network that says nothing puts every label where its number is."""
    net = nln.build("i3d_tiny", 3, width=4).eval()
    torch.nn.init.zeros_(net.fc.weight)
    torch.nn.init.zeros_(net.fc.bias)
    results = run_test(net, LABELS, samples, CLIP, Protocol.parse("2x1"), workers=0)
    for row, sample in zip(results["videos"], samples, strict=True):
        assert row["rank"] == sample.label and row["clips"] == [sample.label] * 2


def test_the_command_names_every_rule(samples, model, bars, tmp_path, capsys):
    nln.save(model, tmp_path / "m.safetensors", labels=LABELS, clip=vars(CLIP))
    (tmp_path / "classes.txt").write_text("\n".join(LABELS))
    rows = [f"{d}/{i}.mp4,{d},test" for d in ("down", "up") for i in range(3)]
    (tmp_path / "test.csv").write_text("\n".join(["path,label,split", *rows]) + "\n")
    arguments = ["test", str(tmp_path / "m.safetensors"), "--data", str(tmp_path / "test.csv")]
    arguments += ["--videos", str(bars), "--workers", "0", "--views", "3x1"]
    out = tmp_path / "results.json"
    for options, clip, protocol, chunk in (
        ([], CLIP, Protocol(clips=3), 1),
        (["--starts", "released"], replace(CLIP, starts="released"), Protocol(clips=3), 1),
        (["--softmax", "pooled", "--chunk", "3"], CLIP, Protocol(clips=3, softmax="pooled"), 3),
    ):
        assert main([*arguments, *options]) == 0
        results = json.loads(out.read_text())
        want = run_test(model, LABELS, samples, clip, protocol, chunk=chunk, workers=0)
        assert results["videos"] == want["videos"]
        assert want["metrics"].items() <= results["metrics"].items()
    assert main([*arguments, "--softmax", "everywhere"]) == 2


def test_thirty_views_need_little_more_memory_than_one(tmp_path):
    """Of a test process, the most that it ever had; all views at once need much more."""
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 255, (160, 212, 3)).astype(np.uint8) for _ in range(60)]
    video = write_video(tmp_path / "v.mp4", pictures)

    def most(views, chunk):  # MiB
        script = Path(__file__).with_name("memory_run.py")
        command = [sys.executable, str(script), str(video), views, str(chunk)]
        return float(subprocess.run(command, capture_output=True, check=True).stdout)

    one, thirty, at_once = most("1x1", 1), most("10x3", 1), most("10x3", 30)
    assert thirty <= 1.2 * one < at_once, (one, thirty, at_once)


def test_the_next_video_is_decoded_while_the_network_is_busy(bars, tmp_path):
    """The network waits, in each video but the last, until the next one has been decoded."""
    videos = []
    for i in range(4):
        path = tmp_path / f"{i}.mp4"
        path.write_bytes((bars / "up" / f"{i}.mp4").read_bytes())
        videos.append(replace(open_video(path), reader="telling_reader"))
    given = read_folder(bars).splits["train"][:4]
    samples = [replace(s, video=v) for s, v in zip(given, videos, strict=True)]
    net = nln.build("i3d_tiny", 2, width=4).eval()
    met = []

    def wait(*_):
        following = tmp_path / f"{min(len(met) + 1, 3)}.decoded"
        end = time.monotonic() + 60
        while not following.exists() and time.monotonic() < end:
            time.sleep(0.01)
        met.append(following.exists())

    net.register_forward_hook(wait)
    run_test(net, ["down", "up"], samples, CLIP, Protocol(clips=1), workers=1)
    assert met == [True] * 4
