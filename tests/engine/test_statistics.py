"""Intervals and bounds: by closed forms, by scikit-learn's weights, by enumeration."""

import itertools
import json

import numpy as np
import pytest
from scipy.stats import binom
from sklearn.metrics import average_precision_score, top_k_accuracy_score

from nonlocalnet.engine.metrics import mean_average_precision
from nonlocalnet.engine.statistics import (
    add_statistics,
    bootstrap,
    bounds,
    figures,
    interval,
    read_results,
)

LABELS = list("abcdefg")


def one_label(seed=0, videos=60, classes=7, views=None, missing=0):
    """The content of a results.json; with `views`, each row has the rank in every view."""
    rng = np.random.default_rng(seed)
    scores, truth = rng.dirichlet(np.ones(classes), videos), rng.integers(0, classes, videos)
    scores[np.arange(videos), truth] += 0.15
    rows = []
    for i, (row, k) in enumerate(zip(scores, truth, strict=True)):
        order = row.argsort()[::-1].tolist()
        rows.append(
            {
                "path": f"{LABELS[k]}/{i}.mp4",
                "label": LABELS[k],
                "predicted": LABELS[order[0]],
                "rank": order.index(k),
                "scores": row.tolist(),
            }
        )
        if views:
            rows[-1]["clips"] = rng.integers(0, classes, views).tolist()
    return _content(rows, classes, missing, "top1@10x1x256")


def several_labels(seed=0, videos=40, classes=5, levels=None, absent=()):
    """The same of several labels per video; `absent` lists the labels of each missing one."""
    rng = np.random.default_rng(seed)
    scores = rng.random((videos, classes))
    if levels:
        scores = np.floor(scores * levels) / levels
    targets = rng.random((videos, classes)) < 0.3
    rows = [
        {
            "path": f"{i}.mp4",
            "labels": [LABELS[k] for k in np.flatnonzero(line)],
            "scores": row.tolist(),
        }
        for i, (line, row) in enumerate(zip(targets, scores, strict=True))
    ]
    results = _content(rows, classes, len(absent), "mAP@10x1x320-max")
    results["missing"] = [{"path": f"gone{i}.mp4", "labels": a} for i, a in enumerate(absent)]
    return results, scores, targets


def _content(rows, classes, missing, metric):
    return {
        "metrics": {metric: 0.0},
        "protocol": {"views": "10x1", "evaluated": len(rows), "missing": missing},
        "labels": LABELS[:classes],
        "videos": rows,
    }


@pytest.mark.parametrize("k", [1, 5])
def test_a_figure_of_weights_is_scikit_learns(k):
    results = one_label()
    scores = np.array([row["scores"] for row in results["videos"]])
    truth = [LABELS.index(row["label"]) for row in results["videos"]]
    weights = np.random.default_rng(1).integers(0, 4, 60)
    want = top_k_accuracy_score(truth, scores, k=k, labels=range(7), sample_weight=weights)
    assert figures(results)[f"top{k}"](weights) == pytest.approx(want)


@pytest.mark.parametrize("levels", [None, 8, 2])
def test_a_weighted_map_is_scikit_learns_ties_included(levels):
    results, scores, targets = several_labels(levels=levels)
    found = figures(results)["mAP"]
    assert found(np.ones(40)) == pytest.approx(mean_average_precision(scores, targets)[0])
    for seed in range(5):
        weights = np.random.default_rng(seed).integers(0, 3, 40)
        want = average_precision_score(targets, scores, sample_weight=weights)
        assert found(weights) == pytest.approx(want, abs=1e-12)
        again = np.repeat(np.arange(40), weights)  # and that of the set with its videos repeated
        repeated = mean_average_precision(scores[again], targets[again])[0]
        assert found(weights) == pytest.approx(repeated, abs=1e-12)


def test_a_class_whose_positives_are_not_drawn_is_left_out():
    results, scores, targets = several_labels()
    weights = np.where(targets[:, 2], 0, 1)
    kept = weights > 0
    want = mean_average_precision(scores[kept], targets[kept])
    assert np.isnan(want[1][2])
    assert figures(results)["mAP"](weights) == pytest.approx(want[0])
    assert np.isnan(figures(results)["mAP"](np.where(targets.any(1), 0, 1)))


def test_map_labelled_leaves_out_videos_without_label():
    results, scores, targets = several_labels(seed=3)
    labelled = targets.any(1)
    assert not labelled.all()
    want = mean_average_precision(scores[labelled], targets[labelled])[0]
    assert figures(results)["mAP_labelled"](np.ones(40)) == pytest.approx(want)


def test_hits_drawn_with_replacement_are_binomial():
    """Closed form: of n videos with h hits, a resample has Binomial(n, h / n) hits."""
    results = one_label(videos=200)
    found = {"top1": figures(results)["top1"]}
    share = found["top1"](np.ones(200))
    drawn = bootstrap(found, 200, resamples=20_000)["top1"]
    for hits in range(200):
        want = binom.cdf(hits, 200, share)
        assert np.mean(drawn <= (hits + 0.5) / 200) == pytest.approx(want, abs=0.015)
    low, high = interval(drawn)
    assert low == pytest.approx(binom.ppf(0.025, 200, share) / 200, abs=1 / 200)
    assert high == pytest.approx(binom.ppf(0.975, 200, share) / 200, abs=1 / 200)


def test_a_map_interval_is_that_of_all_resamples_enumerated():
    """Brute force: every one of the 5 ** 5 draws from five videos."""
    results, scores, targets = several_labels(videos=5, classes=2, seed=5)
    every = []
    for draw in itertools.product(range(5), repeat=5):
        index = list(draw)
        every.append(mean_average_precision(scores[index], targets[index])[0])
    drawn = bootstrap(figures(results), 5, resamples=20_000)["mAP"]
    assert np.nanmean(drawn) == pytest.approx(np.nanmean(every), abs=0.01)
    shares = np.linspace(0.05, 0.95, 19)
    np.testing.assert_allclose(
        np.nanmean(drawn[:, None] <= shares, 0),
        np.mean(np.array(every)[:, None] <= shares, 0),
        atol=0.015,
    )


def test_an_interval_covers_the_truth_as_often_as_it_says():
    """Of 300 sets of 150 videos from a world with 70 % hits, about 95 % cover 70 %."""
    covered = 0
    for seed in range(300):
        hits = np.random.default_rng(seed).random(150) < 0.7
        drawn = bootstrap({"x": lambda w, h=hits: w @ h / 150}, 150, seed=seed, resamples=400)["x"]
        low, high = interval(drawn)
        covered += low <= 0.7 <= high
    assert 0.91 <= covered / 300 <= 0.98


def test_clips_of_one_video_are_drawn_together():
    """Ten equal views of a video are one witness: the clips' interval is that of the videos."""
    results = one_label()
    for row in results["videos"]:
        row["clips"] = [row["rank"]] * 10
    drawn = bootstrap(figures(results), 60)
    np.testing.assert_array_equal(drawn["clip_top1"], drawn["top1"])


def test_clip_figures_count_views_by_hand():
    results = one_label(videos=4, views=3)
    for row, clips in zip(
        results["videos"], [[0, 0, 0], [0, 1, 2], [6, 5, 4], [0, 6, 0]], strict=True
    ):
        row["clips"] = clips
    once = np.ones(4)
    assert figures(results)["clip_top1"](once) == pytest.approx(6 / 12)
    assert figures(results)["clip_top5"](once) == pytest.approx(9 / 12)
    del results["videos"][2]["clips"]  # files of older versions have none
    assert set(figures(results)) == {"top1", "top5"}


def test_the_same_seed_is_the_same_interval():
    found = figures(one_label())
    one, same, other = (bootstrap(found, 60, seed=s, resamples=50)["top1"] for s in (3, 3, 4))
    np.testing.assert_array_equal(one, same)
    assert (one != other).any()


def test_top_k_bounds_are_the_extremes_of_all_outcomes():
    results = one_label(videos=12, views=4, missing=3)
    rows = results["videos"]
    found = bounds(results)
    for name, of in (
        ("top1", lambda row: row["rank"] < 1),
        ("top5", lambda row: row["rank"] < 5),
        ("clip_top1", lambda row: np.mean(np.array(row["clips"]) < 1)),
    ):
        every = []
        for outcome in itertools.product((0, 1), repeat=3):
            every.append((sum(map(of, rows)) + sum(outcome)) / 15)
        assert found[name] == pytest.approx([min(every), max(every)])


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("levels", [None, 4])
def test_map_bounds_are_the_extremes_of_all_places(seed, levels):
    """Each missing video is put at every place among the others, in every class."""
    absent = [["a"], [], ["a", "b"]]
    results, scores, targets = several_labels(seed, 4, 2, levels, absent)
    of_absent = np.array([[1, 0], [0, 0], [1, 1]], bool)
    extremes = []
    for k in range(2):
        taken = np.unique(scores[:, k])
        places = np.concatenate([taken + 1e-6 * step for step in (-3, -2, -1, 0, 1)])
        every = [
            mean_average_precision(
                np.append(scores[:, k], places)[:, None],
                np.append(targets[:, k], of_absent[:, k])[:, None],
            )[0]
            for places in itertools.product(places, repeat=3)
        ]
        extremes.append((min(every), max(every)))
    worst, best = np.mean(extremes, 0)
    assert bounds(results)["mAP"] == pytest.approx([worst, best])


def test_map_has_no_bounds_where_labels_of_the_missing_are_not_known():
    results, _, _ = several_labels(absent=[["a"], ["b"]])
    assert set(bounds(results)) >= {"mAP"}
    del results["missing"]
    assert bounds(results) == {}


def test_nothing_missing_has_no_bounds():
    assert bounds(one_label()) == {}


def test_statistics_are_stamped_and_plain_json():
    results = one_label(views=2, missing=4)
    before = json.loads(json.dumps(results))
    results["metrics"] = {"top1@10x1x256": 0.5, "top5@10x1x256": 0.75}
    add_statistics(results)
    assert results["metrics"]["top1@10x1x256"] == 0.5  # the test's own figure stays
    assert set(results["metrics"]) == set(results["intervals"]) == set(results["bounds"])
    assert set(results["metrics"]) == {
        f"{name}@10x1x256" for name in ("top1", "top5", "clip_top1", "clip_top5")
    }
    assert results["interval_method"] == (
        "95 %, percentiles of 2000 bootstrap sets of videos, seed 0"
    )
    assert results["videos"] == before["videos"] and results["protocol"] == before["protocol"]
    json.dumps(results, allow_nan=False)


def test_without_a_figure_there_is_no_interval():
    results, _, _ = several_labels()
    for row in results["videos"]:
        row["labels"] = []
    results["metrics"] = {}
    add_statistics(results)
    assert results["metrics"] == {} and "intervals" not in results


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "no such file; nonlocalnet test writes"),
        ("{", "not JSON"),
        ("[1]", "lacks labels, metrics, protocol, videos"),
        ('{"metrics": {}, "protocol": {}, "labels": []}', "lacks videos; give"),
        ('{"metrics": {}, "protocol": {}, "labels": [], "videos": []}', "lacks a video; give"),
    ],
)
def test_what_is_no_results_file_is_one_sentence(tmp_path, content, sentence):
    file = tmp_path / "results.json"
    if content is not None:
        file.write_text(content)
    with pytest.raises(ValueError, match=sentence):
        read_results(file)
