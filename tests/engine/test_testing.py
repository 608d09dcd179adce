"""One function scores a video, whoever asks."""

import json
import math
import shutil

import pytest
import torch
from networks import speaking

import nonlocalnet as nln
from nonlocalnet.data.clips import ClipConfig, even_views, to_input
from nonlocalnet.data.folder import read_folder
from nonlocalnet.data.video import open_video
from nonlocalnet.engine.protocol import Protocol
from nonlocalnet.engine.results import list_hash
from nonlocalnet.engine.testing import run_test, video_scores

CLIP = ClipConfig(frames=4, stride=2, crop=32, short_side=(32, 40), test_short_side=32, flip=False)


@pytest.fixture(scope="module")
def model():
    return speaking(2)


def test_scores_are_the_mean_over_views_of_the_mean_over_places_of_softmax(bars, model):
    views = even_views(open_video(bars / "up" / "1.mp4"), CLIP, 10, 1)
    total = torch.zeros(2, dtype=torch.float64)
    for view in views:
        features = model.features(to_input(torch.from_numpy(view)[None], CLIP))[0].double()
        places = features.mean(1).flatten(1).T  # (H'W', C): one cell is a window here
        logits = places @ model.fc.weight.double().T + model.fc.bias.double()
        total += logits.softmax(1).mean(0)
    scores = video_scores(model, views, CLIP)
    torch.testing.assert_close(scores.double(), total / 10, atol=1e-6, rtol=1e-5)
    assert not torch.allclose(
        scores,
        video_scores(model, even_views(open_video(bars / "up" / "1.mp4"), CLIP, 1, 1), CLIP),
        atol=1e-6,
    )


def test_file_api_and_test_give_the_same_bits(bars, model, tmp_path):
    nln.save(model, tmp_path / "m.safetensors", labels=["down", "up"], clip=vars(CLIP))
    classifier = nln.load(tmp_path / "m.safetensors")
    samples = read_folder(bars).splits["test"]
    results = run_test(model, ["down", "up"], samples, CLIP, Protocol(), workers=0)
    parallel = run_test(model, ["down", "up"], samples, CLIP, Protocol(), workers=2)
    assert results == parallel
    for sample, row in zip(samples, results["videos"], strict=True):
        scores = classifier.predict(sample.video.path).scores
        assert torch.equal(scores, video_scores(model, even_views(sample.video, CLIP), CLIP))
        assert row["scores"] == [float(f"{s:.9g}") for s in scores.tolist()]


def test_results_say_of_which_videos_wherever_these_lie(bars, tmp_path):
    shutil.copytree(bars, tmp_path / "elsewhere")
    folder = read_folder(bars)
    here = folder.splits["test"]
    there = read_folder(tmp_path / "elsewhere").splits["test"]
    known = list_hash(here, folder.labels)
    assert known == list_hash(there, folder.labels) == list_hash(here[::-1], folder.labels)
    assert known != list_hash(here[1:], folder.labels)
    assert known != list_hash(here, folder.labels[::-1])  # the same videos, other labels


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_is_used_where_there_is_one(bars, model, tmp_path):
    nln.save(model, tmp_path / "m.safetensors", labels=["down", "up"], clip=vars(CLIP))
    video = bars / "up" / "1.mp4"
    there = nln.load(tmp_path / "m.safetensors")
    assert next(there.model.parameters()).is_cuda
    here = nln.load(tmp_path / "m.safetensors", device="cpu")
    found, expected = there.predict(video).scores, here.predict(video).scores
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-3)


def test_metrics_are_counted_by_hand(bars, model):
    samples = read_folder(bars).splits["test"]
    results = run_test(model, ["down", "up"], samples, CLIP, Protocol(clips=2), workers=0)
    right = [row["label"] == row["predicted"] for row in results["videos"]]
    assert results["metrics"] == {"top1@2x1x32": sum(right) / 6}
    assert results["protocol"]["evaluated"] == 6
    json.dumps(results)


def test_an_unreadable_video_is_counted_not_hidden(bars, model, tmp_path):
    samples = list(read_folder(bars).splits["test"])
    import dataclasses

    gone = dataclasses.replace(samples[0].video, path=tmp_path / "gone.mp4")
    samples[0] = dataclasses.replace(samples[0], video=gone)
    results = run_test(model, ["down", "up"], samples, CLIP, Protocol(clips=1), workers=0)
    assert results["protocol"]["missing"] == 1
    assert "gone.mp4: no such file" in results["faults"][0]
    with pytest.raises(ValueError, match="none of 1 videos could be read"):
        run_test(model, ["down", "up"], samples[:1], CLIP, Protocol(clips=1), workers=0)


@pytest.mark.parametrize("text", ["10", "0x1", "10x2", "x", "axb", "²x1"])
def test_views_have_a_form(text):
    with pytest.raises(ValueError, match="CLIPSx1"):
        Protocol.parse(text)


def test_scores_of_a_prediction_sum_to_one_and_rank(bars, model, tmp_path):
    nln.save(model, tmp_path / "m.safetensors", labels=["down", "up"], clip=vars(CLIP))
    top = nln.load(tmp_path / "m.safetensors").predict(bars / "up" / "0.mp4").top(5)
    assert math.isclose(sum(score for _, score in top), 1, rel_tol=1e-5)
    assert top[0][1] >= top[1][1]
