"""The explorer page at its real size, and what is in it."""

import json
import re

import numpy as np
import pytest
import torch

from nonlocalnet.data.clips import ClipConfig
from nonlocalnet.engine.classifier import Classifier
from nonlocalnet.models.zoo import build
from nonlocalnet.recipes.explorer import write_page


def content_of(page):
    text = page.read_text(encoding="utf-8")
    return json.loads(re.search(r'<script id="data"[^>]*>(.*?)</script>', text, re.S)[1])


def test_a_page_of_the_papers_size_stays_below_15_mb(tmp_path):
    """32 frames of 256 x 340 px, five blocks, and noise, which packs worst of all."""
    rng = np.random.default_rng(0)
    np.save(tmp_path / "noise.npy", rng.integers(0, 255, (64, 256, 340, 3), dtype=np.uint8))
    torch.manual_seed(0)
    model = build("nl5_i3d_r50", 3, width=4).eval()
    classifier = Classifier(model, ["a", "b", "c"], ClipConfig(), {})
    page = write_page(classifier, tmp_path / "noise.npy", tmp_path / "noise.html", clips=1, draws=0)
    assert 2e6 < page.stat().st_size < 15e6
    data = content_of(page)
    assert len(data["frames"]) == 32
    assert data["blocks"][0]["name"] == "res3.3"
    facts = [dict(block["facts"]) for block in data["blocks"]]
    assert facts[0]["Positions with a row here"].startswith("4 x 16 x 22"), "res3 is thinned"
    assert "every 2 cells" in facts[0]["Thinned"]
    assert facts[2]["Positions with a row here"].startswith("4 x 16 x 22"), "res4 is not"
    assert "Thinned" not in facts[2]


@pytest.fixture
def small(tmp_path):
    rng = np.random.default_rng(0)
    np.save(tmp_path / "noise.npy", rng.integers(0, 255, (40, 32, 48, 3), dtype=np.uint8))
    torch.manual_seed(0)
    clip = ClipConfig(frames=4, stride=2, crop=32, short_side=(32, 32), test_short_side=32)
    return Classifier(build("nl1_c2d_tiny", 7, width=4).eval(), list("abcdefg"), clip, {}), tmp_path


def test_the_page_tells_scores_and_times_as_predict_does(small):
    classifier, folder = small
    video = folder / "noise.npy"
    data = content_of(write_page(classifier, video, folder / "a.html", at=(0.5, 10, 20), clips=5))
    want = classifier.predict(video, "5x1").top(5)
    assert [label for label, _ in data["scores"]] == [label for label, _ in want]
    assert [score for _, score in data["scores"]] == pytest.approx([s for _, s in want], abs=1e-4)
    assert len(data["timeline"]) == 5
    means = np.mean([scores for *_, scores in data["timeline"]], 0)
    assert means == pytest.approx([score for _, score in data["scores"]], abs=1e-4)
    assert data["timeline"][0][0] == 0 and data["timeline"][-1][1] == pytest.approx(
        38 / 30, abs=1e-3
    )
    assert data["seconds"][round(data["start"][0])] == pytest.approx(0.5, abs=1 / 30)
    assert "points; hiding" in data["notes"][0]


def test_a_network_without_a_block_and_a_wrong_place_are_told(small):
    classifier, folder = small
    video = folder / "noise.npy"
    with pytest.raises(ValueError, match="lies outside the video"):
        write_page(classifier, video, folder / "a.html", at=(0.5, 48, 20))
    plain = Classifier(build("c2d_tiny", 7, width=4), classifier.labels, classifier.clip, {})
    with pytest.raises(ValueError, match="no non-local block to look through"):
        write_page(plain, video, folder / "a.html")
    assert not (folder / "a.html").exists()
