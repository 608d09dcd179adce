"""Confusion, precision, recall and F1: as scikit-learn has them; coverage by hand; the worst."""

import numpy as np
import pytest
import torch
import torchmetrics.functional.classification as peer
from sklearn.metrics import (
    average_precision_score,
    confusion_matrix,
    precision_recall_fscore_support,
)

from nonlocalnet.engine.perclass import confusion, per_class
from nonlocalnet.engine.statistics import figures
from nonlocalnet.engine.worst import glimpse, in_words, worst

LABELS = list("abcde")


def results_of(truth, said, missing=(), **more):
    rows = [{"label": t, "predicted": s} for t, s in zip(truth, said, strict=True)]
    return {
        "labels": LABELS,
        "videos": rows,
        "protocol": {"missing": len(missing)},
        "missing": [{"label": label} for label in missing],
        **more,
    }


def multi(seed=0, videos=30):
    rng = np.random.default_rng(seed)
    scores, targets = rng.random((videos, 5)), rng.random((videos, 5)) < 0.3
    rows = [
        {"path": f"{i}", "labels": [LABELS[k] for k in np.flatnonzero(t)], "scores": s.tolist()}
        for i, (s, t) in enumerate(zip(scores, targets, strict=True))
    ]
    return (
        {"labels": LABELS, "videos": rows, "protocol": {"missing": 0}, "missing": []},
        scores,
        targets,
    )


@pytest.mark.parametrize("seed", range(4))
def test_confusion_and_shares_equal_scikit_learn(seed):
    rng = np.random.default_rng(seed)
    truth, said = ([LABELS[k] for k in rng.integers(0, 4, 25)] for _ in range(2))  # none is e
    results = results_of(truth, said)
    want = confusion_matrix(truth, said, labels=LABELS)
    np.testing.assert_array_equal(confusion(results), want)
    shares = precision_recall_fscore_support(truth, said, labels=LABELS, zero_division=np.nan)
    rows = per_class(results)
    for name, values in zip(("precision", "recall", "f1"), shares, strict=False):
        found = np.array([row[name] for row in rows], dtype=float)  # None becomes nan
        np.testing.assert_allclose(found, values)
    assert [row["evaluated"] for row in rows] == shares[3].tolist()
    assert rows[4]["precision"] is rows[4]["recall"] is rows[4]["f1"] is None


def test_figures_equal_torchmetrics():
    """Of nothing its shares are 0 and ours None, so here every class is there and said."""
    rng = np.random.default_rng(1)
    scores, truth = rng.dirichlet(np.ones(5), 80), rng.integers(0, 5, 80)
    rows = [
        {"label": LABELS[k], "predicted": LABELS[s.argmax()], "rank": int((s > s[k]).sum())}
        for k, s in zip(truth, scores, strict=True)
    ]
    results = {"labels": LABELS, "videos": rows, "protocol": {"missing": 0}}
    said, true = torch.from_numpy(scores), torch.from_numpy(truth)
    np.testing.assert_array_equal(
        confusion(results), peer.multiclass_confusion_matrix(said, true, 5).numpy()
    )
    for name, of in (
        ("precision", peer.multiclass_precision),
        ("recall", peer.multiclass_recall),
        ("f1", peer.multiclass_f1_score),
    ):
        want = of(said, true, num_classes=5, average=None).numpy()
        np.testing.assert_allclose([row[name] for row in per_class(results)], want, atol=1e-6)
    top1 = peer.multiclass_accuracy(said, true, 5, average="micro")
    assert figures(results)["top1"](np.ones(80)) == pytest.approx(float(top1), abs=1e-6)
    results, scores, targets = multi()
    want = peer.multilabel_average_precision(
        torch.from_numpy(scores), torch.from_numpy(targets).long(), 5
    )
    assert figures(results)["mAP"](np.ones(30)) == pytest.approx(float(want), abs=1e-6)


def test_several_labels_equal_scikit_learn():
    results, scores, targets = multi()
    shares = precision_recall_fscore_support(targets, scores >= 0.5)
    rows = per_class(results)
    for name, values in zip(("precision", "recall", "f1", "evaluated"), shares, strict=True):
        np.testing.assert_allclose([row[name] for row in rows], values)
    want = average_precision_score(targets, scores, average=None)
    np.testing.assert_allclose([row["average_precision"] for row in rows], want)
    np.testing.assert_allclose([row["average_precision_best"] for row in rows], want)
    with pytest.raises(ValueError, match="one label per video"):
        confusion(results)


def test_coverage_and_bounds_of_a_class_by_hand():
    """Three of a, two right; two more of a and one of e are on the list and were not tested."""
    results = results_of("aaab", "aabb", missing="aae")
    a, b, c, _, e = per_class(results)
    assert (a["listed"], a["evaluated"], a["said"]) == (5, 3, 2)
    assert (a["recall"], a["recall_worst"], a["recall_best"]) == pytest.approx(
        (2 / 3, 2 / 5, 4 / 5)
    )
    assert (b["listed"], b["recall_worst"], b["recall_best"]) == (1, 1.0, 1.0)
    assert (c["listed"], c["recall_best"]) == (0, None)
    assert (e["listed"], e["evaluated"], e["recall"]) == (1, 0, None)
    assert (e["recall_worst"], e["recall_best"]) == (0.0, 1.0)
    del results["missing"]  # a file that only says how many there are
    a = per_class(results)[0]
    assert a["recall"] == 2 / 3
    assert a["listed"] is a["recall_worst"] is a["recall_best"] is None


def test_average_precision_bounds_of_a_class_by_hand():
    results = {
        "labels": ["a"],
        "videos": [{"labels": ["a"], "scores": [0.9]}, {"labels": [], "scores": [0.4]}],
        "protocol": {"missing": 2},
        "missing": [{"labels": ["a"]}, {"labels": []}],
    }
    (row,) = per_class(results)
    assert row["average_precision"] == 1.0
    assert row["average_precision_best"] == 1.0
    # The negative first, then the hit, the other negative, the positive: (1/2 + 2/4) / 2.
    assert row["average_precision_worst"] == pytest.approx(0.5)


def test_the_worst_have_the_least_score_for_their_label():
    rng = np.random.default_rng(0)
    scores = rng.dirichlet(np.ones(5), 30)
    scores[7] = 0, 0.25, 0.25, 0.25, 0.25
    truth = [0] * 30
    results = {
        "labels": LABELS,
        "videos": [{"label": LABELS[k], "scores": s} for k, s in zip(truth, scores, strict=True)],
    }
    own = scores[:, 0]
    assert worst(results, 4) == np.argsort(own)[:4].tolist()
    assert worst(results, 1) == [7]
    assert len(worst(results, 100)) == 30


def test_the_worst_of_several_labels_have_the_largest_cross_entropy():
    results, scores, targets = multi(1)
    losses = -np.where(targets, np.log(scores), np.log(1 - scores)).mean(1)
    assert worst(results, 5) == np.argsort(-losses)[:5].tolist()


def test_words_of_a_video_of_several_labels():
    rows = [{"labels": ["a", "c"], "scores": [0.2, 0.6, 0.7]}, {"labels": [], "scores": [0, 0, 0]}]
    results = {"labels": ["a", "b", "c"], "videos": rows}
    assert in_words(results, 0) == ("a 20 %, c 70 %; said: c 70 %, b 60 %", False)
    assert in_words(results, 1) == ("nothing; said: nothing", True)


def test_a_glimpse_is_spread_over_the_video(tmp_path):
    from videos import number_of, write_video

    frames = glimpse(str(write_video(tmp_path / "v.mp4", 80)), count=4, short_side=64)
    assert frames is not None
    assert [number_of(frame) for frame in frames] == [10, 30, 50, 70]
    assert glimpse(str(tmp_path / "gone.mp4")) is None
    one = glimpse(str(write_video(tmp_path / "one.mp4", 1)))
    assert one is not None and len(one) == 4
