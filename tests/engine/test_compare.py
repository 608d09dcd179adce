"""Differences of two tests: paired, on the same videos, and only of like protocols."""

import copy
import json
import re

import numpy as np
import pytest

from nonlocalnet.cli.main import main
from nonlocalnet.data.clips import ClipConfig
from nonlocalnet.engine.compare import compare, paired
from nonlocalnet.engine.protocol import Protocol
from nonlocalnet.engine.statistics import bootstrap, figures, interval

LABELS = ["down", "left", "up"]


def results_of(right, root="data", **protocol):
    """A results.json of videos named right or wrong."""
    rows = [
        {
            "path": f"{root}/{LABELS[i % 3]}/{i}.mp4",
            "label": LABELS[i % 3],
            "predicted": LABELS[(i + (not hit)) % 3],
            "rank": int(not hit),
            "scores": [0.0, 0.0, 0.0],
        }
        for i, hit in enumerate(right)
    ]
    described = Protocol().describe(ClipConfig(), multi_label=False)
    return {
        "metrics": {"top1@10x1x256": float(np.mean(right))},
        "protocol": {**described, "decoder": "pyav", "missing": 0, **protocol},
        "labels": LABELS,
        "videos": rows,
    }


def correlated(videos=400, seed=0):
    """Two tests that agree on most videos: B corrects a few errors of A, and makes fewer."""
    rng = np.random.default_rng(seed)
    a = rng.random(videos) < 0.6
    b = np.where(rng.random(videos) < 0.15, rng.random(videos) < 0.9, a)
    return a, b


def test_a_paired_interval_is_narrower_than_an_unpaired_one():
    a, b = correlated()
    first, second = results_of(a), results_of(b)
    found = compare(first, second)["figures"]["top1"]
    low, high = found["interval"]
    unpaired = (
        bootstrap(figures(second), 400, seed=1)["top1"]
        - bootstrap(figures(first), 400, seed=2)["top1"]
    )
    assert high - low < 0.5 * np.subtract(*interval(unpaired)[::-1])
    assert found["difference"] == pytest.approx(b.mean() - a.mean())
    # The closed form of a mean of n differences: its standard error is their spread / sqrt(n).
    spread = (b.astype(float) - a).std() / 20
    assert (high - low) == pytest.approx(2 * 1.96 * spread, rel=0.1)
    assert low > 0 and interval(unpaired)[0] < 0  # pairing is what finds it


def test_a_test_against_itself_differs_by_nothing():
    a, _ = correlated(50)
    found = compare(results_of(a), results_of(a))["figures"]["top1"]
    assert found["difference"] == 0 and found["interval"] == [0, 0]


def test_turned_round_it_is_the_negative():
    a, b = map(results_of, correlated(80))
    there, back = compare(a, b)["figures"]["top1"], compare(b, a)["figures"]["top1"]
    assert there["difference"] == -back["difference"]
    np.testing.assert_allclose(there["interval"], [-v for v in back["interval"][::-1]], atol=1e-12)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("views", "10x3"),
        ("scores", "sigmoid per location, mean over locations, then over views"),
        ("test_short_side", 320),
        ("frames", 8),
        ("fps", 15.0),
        ("clip_starts", "int(j N / clips)"),
        ("decoder", "opencv"),
        ("a_field_of_later", "this"),
    ],
)
def test_unlike_protocols_are_refused_by_name(field, value):
    a, b = (results_of([True, False, True], **more) for more in ({}, {field: value}))
    sentence = rf"the protocols differ in {field} \(.* and {re.escape(str(value))}\), so"
    with pytest.raises(ValueError, match=sentence):
        compare(a, b)
    assert compare(a, b, allow=[field])["allowed"] == [field]


def test_all_fields_that_differ_are_named_in_one_sentence():
    a = results_of([True, False, True])
    b = results_of([True, False, True], frames=8, stride=8)
    sentence = r"frames \(32 and 8\); stride \(2 and 8\), so .* or allow frames,stride if"
    with pytest.raises(ValueError, match=sentence):
        compare(a, b)
    with pytest.raises(ValueError, match=r"differ in stride \(2 and 8\), so"):
        compare(a, b, allow=["frames"])
    with pytest.raises(ValueError, match="no protocol has a field 'strid'"):
        compare(a, b, allow=["frames", "strid"])


def test_what_belongs_to_the_network_may_differ():
    other = {"mean": 0.5, "std": [0.2, 0.2, 0.2], "torch": "9", "machine": "arm64", "missing": 2}
    other |= {"chunk": 4, "optimized": True}  # the same to rounding
    hits = [True, False, True]
    assert compare(results_of(hits), results_of(hits, short_side=[32, 40], **other))["videos"] == 3


def test_the_training_crop_counts_where_the_test_uses_it():
    a, b = (
        results_of([True, False, True], views="1-clip-jitter", short_side=side)
        for side in ([256, 320], [256, 288])
    )
    with pytest.raises(ValueError, match=r"differ in short_side \(\[256, 320\] and \[256, 288\]\)"):
        compare(a, b)


def test_only_videos_that_both_tested_are_compared():
    a, b = (
        results_of([True, True, False, False, True]),
        results_of([True, False, False, True, True]),
    )
    b["videos"] = [b["videos"][i] for i in (3, 0, 1)]
    found = compare(a, b)
    assert (found["videos"], found["only_a"], found["only_b"]) == (3, 2, 0)
    assert found["figures"]["top1"]["a"] == found["figures"]["top1"]["b"] == 2 / 3


def test_videos_are_the_same_wherever_the_data_lie():
    a, b = results_of([True] * 6, root="/data/k400"), results_of([True] * 6, root="D/val")
    assert compare(a, b)["videos"] == 6
    rows = [{"path": f"x/{name}/1.mp4", "label": name} for name in LABELS]  # one name, three files
    pairs = paired(rows, [{**row, "path": "/y/" + row["path"]} for row in rows[::-1]])
    assert [one["label"] for one, _ in pairs] == [two["label"] for _, two in pairs] == LABELS


def test_other_data_are_refused():
    a = results_of([True, False, True])
    b = copy.deepcopy(a)
    b["videos"][1]["label"] = "up"
    with pytest.raises(ValueError, match=r"data/left/1.mp4 shows left in one file and up in the"):
        compare(a, b)
    for row in b["videos"]:
        row["path"] = "other/" + row["path"].replace(".mp4", ".avi")
    with pytest.raises(ValueError, match=r"no video is in both files, as data/down/0\.mp4 in one"):
        compare(a, b)
    b["labels"] = ["down", "up"]
    with pytest.raises(ValueError, match=r"the classes differ \(3, first down, .*; 2, first down"):
        compare(a, b)


def test_without_labels_there_is_nothing_to_compare():
    kept_back = results_of([True] * 3)
    for row in kept_back["videos"]:
        row["labels"] = []
    with pytest.raises(ValueError, match="none of the 3 videos has a label"):
        compare(kept_back, kept_back)


def test_map_of_two_tests_is_compared():
    rng = np.random.default_rng(0)
    targets = rng.random((60, 3)) < 0.4
    noise = rng.random((60, 3))
    files = []
    for gain in (0.1, 0.6):
        scores = gain * targets + noise + 0.05 * rng.random((60, 3))
        results = results_of([True] * 60)
        for row, score, target in zip(results["videos"], scores, targets, strict=True):
            row["labels"] = [LABELS[k] for k in np.flatnonzero(target)]
            row["scores"] = score.tolist()
        files.append(results)
    found = compare(*files)["figures"]
    assert set(found) == {"mAP", "mAP_labelled"}
    assert found["mAP"]["interval"][0] > 0


def test_the_command_prints_the_same(tmp_path, capsys):
    a, b = map(results_of, correlated(60))
    paths = []
    for name, results in (("a.json", a), ("b.json", b)):
        (tmp_path / name).write_text(json.dumps(results))
        paths.append(str(tmp_path / name))
    assert main(["compare", *paths, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found == compare(a, b)
    assert main(["compare", *paths]) == 0
    said = capsys.readouterr().out
    assert f"{100 * found['figures']['top1']['difference']:+8.2f}" in said
    assert "60 videos that both tested" in said
    (tmp_path / "b.json").write_text(json.dumps(results_of([True] * 60, views="10x3")))
    assert main(["compare", *paths]) == 2
    said = capsys.readouterr().err
    assert "the protocols differ in views (10x1 and 10x3), so" in said and said.count("\n") == 1
