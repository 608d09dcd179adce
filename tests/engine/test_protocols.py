"""Views other than ten clips, several labels per video, and the files that a test leaves."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from networks import speaking
from sklearn.metrics import average_precision_score

import nonlocalnet as nln
from nonlocalnet.cli.main import main
from nonlocalnet.data.clips import ClipConfig, even_views, to_input, training_view
from nonlocalnet.data.folder import Sample, read_folder
from nonlocalnet.data.listed import Action
from nonlocalnet.data.video import open_video
from nonlocalnet.engine.protocol import Protocol
from nonlocalnet.engine.results import submission
from nonlocalnet.engine.testing import run_test, video_scores

CLIP = ClipConfig(frames=4, stride=2, crop=32, short_side=(32, 40), test_short_side=32, flip=False)
LABELS = ["down", "never", "up"]


@pytest.fixture(scope="module")
def model():
    return speaking(3)


def several(folder, labels):
    """Videos of class folders as a set of several labels; `labels` of each, from its folder."""
    samples = [sample for split in ("train", "test") for sample in folder.splits[split]]
    return [
        Sample(
            video=sample.video,
            actions=tuple(
                Action(label=LABELS.index(name), start=0.0, end=math.inf)
                for name in labels(i, sample.video.path.parent.name)
            ),
        )
        for i, sample in enumerate(samples)
    ]


@pytest.fixture(scope="module")
def samples(bars):
    """Every third video has no label, every fifth both; no video shows `never`."""

    def labels(i, folder):
        return [] if i % 3 == 0 else ["down", "up"] if i % 5 == 0 else [folder]

    return several(read_folder(bars), labels)


@pytest.mark.parametrize("text", ["10x1", "10x3", "1x1", "1-clip-jitter"])
def test_a_protocol_keeps_its_name(text):
    protocol = Protocol.parse(text)
    assert str(protocol) == text and Protocol.parse(str(protocol)) == protocol


def test_a_metric_says_how_it_came_about():
    assert Protocol.parse("10x3").stamp(ClipConfig()) == "10x3x256"
    assert Protocol.parse("10x1", "max").stamp(ClipConfig(test_short_side=320)) == "10x1x320-max"
    assert Protocol.parse("1-clip-jitter", seed=3).stamp(ClipConfig()) == "1-clip-jitterx224"
    with pytest.raises(ValueError, match="combine must be one of mean, max: 'median'"):
        Protocol.parse("10x1", "median")
    with pytest.raises(ValueError, match=r"CLIPSx1 .* or 1-clip-jitter; got '2-clip-jitter'"):
        Protocol.parse("2-clip-jitter")


@pytest.mark.parametrize("combine", ["mean", "max"])
@pytest.mark.parametrize("multi_label", [False, True])
def test_scores_by_the_words_of_the_protocol(bars, model, combine, multi_label):
    views = even_views(open_video(bars / "up" / "1.mp4"), CLIP, 3, 3)
    each = []
    for view in views:
        features = model.features(to_input(torch.from_numpy(view)[None], CLIP))[0].double()
        places = features.mean(1).flatten(1).T  # (H'W', C): one cell is a window here
        logits = places @ model.fc.weight.double().T + model.fc.bias.double()
        each.append((logits.sigmoid() if multi_label else logits.softmax(1)).mean(0))
    each = torch.stack(each)
    want = each.mean(0) if combine == "mean" else each.max(0).values
    scores = video_scores(model, views, CLIP, multi_label, combine)
    torch.testing.assert_close(scores.double(), want, atol=1e-6, rtol=1e-5)


def test_several_labels_are_judged_by_map(model, samples):
    results = run_test(model, LABELS, samples, CLIP, Protocol.parse("2x1"), workers=0)
    assert results == run_test(model, LABELS, samples, CLIP, Protocol.parse("2x1"), workers=2)
    scores = np.array([row["scores"] for row in results["videos"]])
    truth = np.array([[name in row["labels"] for name in LABELS] for row in results["videos"]])
    for row, sample in zip(results["videos"], samples, strict=True):
        assert row["path"] == str(sample.video.path)
        assert row["labels"] == [LABELS[k] for k in sorted(a.label for a in sample.actions)]
        views = even_views(sample.video, CLIP, 2, 1)
        exact = video_scores(model, views, CLIP, multi_label=True)
        assert torch.equal(torch.tensor(row["scores"]), exact)  # as float32, bit for bit
    by_class = average_precision_score(truth[:, [0, 2]], scores[:, [0, 2]], average=None)
    positives = truth.sum(0).tolist()
    assert results["classes"] == [
        {
            "label": "down",
            "positives": positives[0],
            "average_precision": pytest.approx(by_class[0]),
        },
        {"label": "never", "positives": 0, "average_precision": None},
        {"label": "up", "positives": positives[2], "average_precision": pytest.approx(by_class[1])},
    ]
    some = truth.any(1)
    labelled = average_precision_score(truth[some][:, [0, 2]], scores[some][:, [0, 2]])
    assert results["metrics"] == {
        "mAP@2x1x32": pytest.approx(by_class.mean(), abs=1e-6),
        "mAP_labelled@2x1x32": pytest.approx(labelled, abs=1e-6),
    }
    assert results["coverage"] == {
        "classes": 3,
        "without_positives": ["never"],
        "videos_without_label": int((~some).sum()),
    }
    assert results["protocol"]["scores"].startswith("sigmoid per location, mean over locations")
    json.loads(json.dumps(results, allow_nan=False))


def test_the_largest_over_views_is_another_protocol(model, samples):
    mean, most = (
        run_test(model, LABELS, samples[:4], CLIP, Protocol.parse("3x1", combine), workers=0)
        for combine in ("mean", "max")
    )
    assert "mAP@3x1x32" in mean["metrics"] and "mAP@3x1x32-max" in most["metrics"]
    assert most["protocol"]["scores"].endswith("then the largest over views")
    for low, high in zip(mean["videos"], most["videos"], strict=True):
        assert all(a <= b for a, b in zip(low["scores"], high["scores"], strict=True))


def test_labels_that_are_kept_back_leave_no_figure(model, bars):
    hidden = several(read_folder(bars), lambda i, folder: [])
    results = run_test(model, LABELS, hidden, CLIP, Protocol.parse("1x1"), workers=0)
    assert results["metrics"] == {} and len(results["videos"]) == 16
    assert results["coverage"]["without_positives"] == LABELS


def test_the_jittered_view_is_seeded_and_says_so(model, bars):
    samples = [replace(s, label=2 * s.label) for s in read_folder(bars).splits["test"]]
    protocol = Protocol.parse("1-clip-jitter", seed=4)
    results = run_test(model, LABELS, samples, CLIP, protocol, workers=0)
    assert results == run_test(model, LABELS, samples, CLIP, protocol, workers=2)
    for i, (row, sample) in enumerate(zip(results["videos"], samples, strict=True)):
        view = training_view(sample.video, CLIP, np.random.default_rng((4, i)))
        scores = video_scores(model, view, CLIP)
        assert row["scores"] == [float(f"{score:.9g}") for score in scores.tolist()]
    assert list(results["metrics"]) == ["top1@1-clip-jitterx32"]
    said = results["protocol"]
    assert (said["views"], said["seed"], said["clip_starts"]) == ("1-clip-jitter", 4, "random")
    assert said["crop"] == "random square of 32 px"
    other = run_test(model, LABELS, samples, CLIP, Protocol.parse("1-clip-jitter"), workers=0)
    assert [r["scores"] for r in other["videos"]] != [r["scores"] for r in results["videos"]]


def test_results_of_one_label_have_the_keys_they_always_had(model, bars):
    samples = read_folder(bars).splits["test"]
    results = run_test(model, LABELS, samples, CLIP, Protocol.parse("1x1"), workers=0)
    assert list(results) == ["metrics", "protocol", "labels", "faults", "videos"]
    assert list(results["videos"][0]) == ["path", "label", "predicted", "rank", "scores", "clips"]
    assert list(results["protocol"]) == [
        *("views", "scores", *vars(CLIP), "clip_starts", "chunk"),
        *("decoder", "torch", "machine", "videos_hash", "evaluated", "missing"),
    ]
    said = results["protocol"]
    assert said["scores"] == "softmax per location, mean over locations, then over views"
    assert said["crop"] == "whole frame"


@pytest.fixture(scope="module")
def saved(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "m.safetensors"
    nln.save(model, path, labels=LABELS, clip=vars(CLIP), multi_label=True)
    return path


@pytest.fixture
def listed(bars, tmp_path):
    rows = ["path,labels,split", "up/0.mp4,up,test", "down/1.mp4,up;down,test", "up/2.mp4,,test"]
    (tmp_path / "videos.csv").write_text("\n".join([*rows, "up/3.mp4,up,train"]))
    return ["--data", str(tmp_path / "videos.csv"), "--videos", str(bars), "--workers", "0"]


def test_test_and_predict_of_several_labels(saved, listed, bars, tmp_path, capsys):
    out, file = tmp_path / "results.json", tmp_path / "submission.txt"
    arguments = ["test", str(saved), *listed, "--out", str(out), "--submission", str(file)]
    assert main([*arguments, "--views", "3x1", "--combine", "max"]) == 0
    said = capsys.readouterr().out
    assert "mAP is the mean over 2 of 3 classes; 1 have no positive video, first: never" in said
    assert "mAP_labelled leaves out the 1 without label" in said
    assert f"written to {out} and {file}" in said
    results = json.loads(out.read_text())
    assert list(results["metrics"]) == ["mAP@3x1x32-max", "mAP_labelled@3x1x32-max"]
    classifier = nln.load(saved)
    lines = [line.split(" ") for line in file.read_text().splitlines()]
    assert [line[0] for line in lines] == ["0", "1", "2"]
    for line, row in zip(lines, results["videos"], strict=True):
        assert [float(score) for score in line[1:]] == row["scores"]
        prediction = classifier.predict(row["path"], "3x1", "max")
        assert torch.equal(prediction.scores, torch.tensor(row["scores"]))
    assert main(["predict", row["path"], "--model", str(saved), "--json", "--views", "1x1"]) == 0
    (shown,) = json.loads(capsys.readouterr().out)
    assert {entry["label"] for entry in shown["top"]} == set(LABELS)
    want = video_scores(
        classifier.model, even_views(open_video(row["path"]), CLIP, 1, 1), CLIP, True
    )
    assert shown["top"][0]["score"] == float(want.max())


def test_a_model_is_tested_as_its_recipe_says(model, bars, listed, tmp_path, capsys):
    """--test.views of a recipe reached its config.yaml only."""
    path = tmp_path / "m.safetensors"
    saying = {"multi_label": True, "views": "2x1", "combine": "max"}
    nln.save(model, path, labels=LABELS, clip=vars(CLIP), **saying)
    assert main(["test", str(path), *listed, "--json"]) == 0
    assert "mAP@2x1x32-max" in json.loads(capsys.readouterr().out)
    classifier, video = nln.load(path), bars / "up" / "0.mp4"
    same = classifier.predict(video, "2x1", "max").scores
    assert torch.equal(classifier.predict(video).scores, same)


def test_videos_whose_labels_are_kept_back_get_a_submission(saved, bars, tmp_path, capsys):
    """There is no figure, and the report page failed for want of its intervals."""
    (tmp_path / "videos.csv").write_text("path,labels,split\nup/0.mp4,,test\ndown/1.mp4,,test")
    out, file = tmp_path / "results.json", tmp_path / "submission.txt"
    arguments = ["test", str(saved), "--data", str(tmp_path / "videos.csv"), "--workers", "0"]
    arguments += ["--videos", str(bars), "--out", str(out), "--submission", str(file)]
    assert main([*arguments, "--views", "1x1"]) == 0
    assert "no video has a label, so there is no mAP" in capsys.readouterr().out
    assert len(file.read_text().splitlines()) == 2
    assert "2 videos tested" in (tmp_path / "report.html").read_text()


def test_ids_of_a_submission_are_the_names_of_files_and_folders():
    videos = [{"path": path, "scores": [0.5, 1e-9]} for path in ("a/46GP8.mp4", "rgb/0I.H69")]
    assert submission({"videos": videos}) == "46GP8 0.5 1e-09\n0I.H69 0.5 1e-09\n"


@pytest.mark.parametrize(
    ("extra", "sentence"),
    [
        (["--data", "BARS"], "model was trained on several labels per video; test on data of the"),
        (["--submission", "x", "--prepared", "y"], "--submission names videos by their files"),
        (["--combine", "median"], "combine"),
    ],
)
def test_what_does_not_fit_is_one_sentence(saved, listed, bars, tmp_path, capsys, extra, sentence):
    if "BARS" in extra:
        (bars / "classes.txt").write_text("\n".join(LABELS))
        listed, extra = [], ["--data", str(bars)]
    try:
        assert main(["test", str(saved), *listed, *extra]) == 2
    finally:
        (bars / "classes.txt").unlink(missing_ok=True)
    said = capsys.readouterr().err
    assert sentence in said and said.count("\n") == 1


def test_a_submission_is_for_several_labels(model, bars, tmp_path, capsys):
    nln.save(model, tmp_path / "m.safetensors", labels=LABELS, clip=vars(CLIP))
    (tmp_path / "classes.txt").write_text("\n".join(LABELS))
    (tmp_path / "test.csv").write_text("path,label,split\nup/0.mp4,up,test\ndown/0.mp4,down,test\n")
    arguments = ["test", str(tmp_path / "m.safetensors"), "--data", str(tmp_path / "test.csv")]
    arguments += ["--videos", str(bars), "--submission", str(tmp_path / "s.txt")]
    assert main(arguments) == 2
    assert "has one label per video, and --submission is for several" in capsys.readouterr().err


def test_testing_repeats_the_validation_of_training(bars, tmp_path, capsys):
    """Error and loss of the last validation, one clip per video, from the files of the run."""
    from nonlocalnet.engine.logs import read_metrics

    run = tmp_path / "run"
    arguments = ["train", str(bars), "--out", str(run), "--workers", "0", "--json"]
    arguments += ["--frames", "4", "--crop", "32", "--epochs", "4", "--batch", "5", "--lr", "0.001"]
    assert main(arguments) == 0
    arguments = ["test", str(run), "--data", str(bars), "--views", "1x1", "--workers", "0"]
    assert main(arguments) == 0
    last = [row for row in read_metrics(run / "metrics.csv") if row["val_error"]][-1]
    results = json.loads((run / "results.json").read_text())
    assert 1 - results["metrics"]["top1@1x1x32"] == pytest.approx(
        float(last["val_error"]), abs=1e-6
    )
    own = [row["scores"][results["labels"].index(row["label"])] for row in results["videos"]]
    want = sum(-math.log(max(score, 1e-12)) for score in own) / len(own)
    assert float(last["val_loss"]) == pytest.approx(want, rel=1e-5)
