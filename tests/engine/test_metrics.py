"""Top-k and mean average precision: by hand, by the definition, and as scikit-learn has them."""

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score, top_k_accuracy_score

from nonlocalnet.engine.metrics import mean_average_precision, top_k


def random_set(seed, videos=40, classes=7, levels=None):
    """Scores and targets; with few `levels` most scores are equal to others."""
    rng = np.random.default_rng(seed)
    scores = rng.random((videos, classes))
    if levels:
        scores = np.floor(scores * levels) / levels
    targets = rng.random((videos, classes)) < rng.uniform(0.05, 0.6, classes)
    targets[0] = True  # no class without positives
    return scores, targets.astype(np.int64)


@pytest.mark.parametrize("levels", [None, 20, 3, 1])
@pytest.mark.parametrize("seed", range(5))
def test_equals_scikit_learn_ties_included(seed, levels):
    scores, targets = random_set(seed, levels=levels)
    found, each = mean_average_precision(scores, targets)
    want = average_precision_score(targets, scores, average=None)
    np.testing.assert_allclose(each, want, atol=1e-6, rtol=0)
    assert found == pytest.approx(average_precision_score(targets, scores), abs=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_without_ties_it_is_the_mean_precision_at_each_positive(seed):
    scores, targets = random_set(seed)
    _, each = mean_average_precision(scores, targets)
    for k in range(targets.shape[1]):
        positives = [i for i in range(len(targets)) if targets[i, k]]
        precisions = []
        for i in positives:
            above = [j for j in range(len(targets)) if scores[j, k] >= scores[i, k]]
            precisions.append(sum(targets[j, k] for j in above) / len(above))
        assert each[k] == pytest.approx(sum(precisions) / len(positives), abs=1e-12)


def test_by_hand():
    # Positives at ranks 1 and 3: (1/1 + 2/3) / 2. Tied with all others: 1 of 3 are positive.
    found, each = mean_average_precision(
        [[0.9, 0.5], [0.8, 0.5], [0.7, 0.5]], [[1, 0], [0, 1], [1, 0]]
    )
    assert each.tolist() == pytest.approx([5 / 6, 1 / 3])
    assert found == pytest.approx((5 / 6 + 1 / 3) / 2)


@pytest.mark.parametrize("levels", [None, 4])
def test_the_order_of_the_videos_does_not_matter(levels):
    scores, targets = random_set(3, levels=levels)
    order = np.random.default_rng(0).permutation(len(scores))
    there, again = (mean_average_precision(scores[o], targets[o]) for o in (slice(None), order))
    np.testing.assert_allclose(there[1], again[1], atol=1e-12)


def test_a_class_without_positives_is_nan_and_not_in_the_mean():
    scores, targets = random_set(1)
    targets[:, 2] = 0
    found, each = mean_average_precision(scores, targets)
    assert np.isnan(each[2]) and np.isnan(each).sum() == 1
    kept = [k for k in range(7) if k != 2]
    assert found == pytest.approx(average_precision_score(targets[:, kept], scores[:, kept]))
    nothing, every = mean_average_precision(scores, np.zeros_like(targets))
    assert np.isnan(nothing) and np.isnan(every).all()


def test_ranking_videos_without_labels_last_is_leaving_them_out():
    """What the Charades authors' script does to them, and what `run_test` does instead."""
    scores, targets = random_set(4)
    targets[5:15] = 0
    labelled = targets.any(1)
    last = np.where(labelled[:, None], scores, -np.inf)
    left_out = mean_average_precision(scores[labelled], targets[labelled])
    assert mean_average_precision(last, targets)[0] == pytest.approx(left_out[0], abs=1e-12)
    assert left_out[0] > mean_average_precision(scores, targets)[0]


@pytest.mark.parametrize("k", [1, 2, 5])
def test_top_k_equals_scikit_learn(k):
    rng = np.random.default_rng(k)
    scores, labels = rng.random((50, 7)), rng.integers(0, 7, 50)
    want = top_k_accuracy_score(labels, scores, k=k, labels=range(7))
    assert top_k(scores, labels, k) == pytest.approx(want)
    assert top_k(torch.from_numpy(scores), torch.from_numpy(labels), k) == pytest.approx(want)


def test_of_equal_scores_the_earlier_class_is_better():
    scores = np.full((3, 4), 0.25)
    assert [top_k(scores, [0, 1, 2], k) for k in (1, 2, 3)] == pytest.approx([1 / 3, 2 / 3, 1])


@pytest.mark.parametrize(
    ("scores", "truth", "sentence"),
    [
        ([[0.1, 0.2]], [[1, 0], [0, 1]], r"targets \(videos, classes\) must .* \(1, 2\) and \(2, "),
        (np.zeros((0, 3)), np.zeros((0, 3)), r"one video at least, got \(0, 3\)"),
        ([[0.1], [np.nan]], [[1], [0]], "scores of video 1 are not numbers"),
        ([[0.1], [0.2]], [[1], [2]], "targets must be 0 or 1"),
    ],
)
def test_what_has_no_figure_is_an_error(scores, truth, sentence):
    with pytest.raises(ValueError, match=sentence):
        mean_average_precision(scores, truth)


def test_top_k_wants_one_label_per_video():
    with pytest.raises(ValueError, match=r"labels \(videos,\) must agree .* \(1, 2\) and \(1, 1\)"):
        top_k([[0.1, 0.2]], [[1]], 1)
    with pytest.raises(ValueError, match="scores of video 0 are not numbers"):
        top_k([[0.1, np.nan]], [1], 1)
