"""The explorer's file: rows survive their packing, nothing from outside gets out of its place."""

import base64
import gzip
import json
import re

import numpy as np
import pytest

from nonlocalnet.viz.explorer import BlockRows, Explorer, explorer_page, pack_rows, unpack_rows

HOSTILE = "</script><script>alert(1)</script><!--{{data}}"


@pytest.mark.parametrize("signed", [False, True])
def test_a_packed_weight_keeps_its_size_to_four_percent_and_its_sign(signed):
    rng = np.random.default_rng(0)
    weights = np.exp(rng.normal(0, 2.5, (50, 400))).astype(np.float32)
    if signed:
        weights *= rng.choice([-1, 1], weights.shape)
    codes, peaks = pack_rows(weights)
    assert codes.dtype == np.uint8 and codes.shape == weights.shape
    found = unpack_rows(codes, peaks)
    kept = found != 0
    assert np.abs(found / weights - 1)[kept].max() < 0.036
    assert (np.abs(weights[~kept]) < peaks[:, None].repeat(400, 1)[~kept] / 6000).all()
    assert np.array_equal(np.abs(found).max(1), peaks), "the largest of each row is kept as it is"


def test_rows_of_a_softmax_still_sum_to_one_nearly():
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 3, (40, 1344))
    weights = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    found = unpack_rows(*pack_rows(weights.astype(np.float32)))
    assert np.abs(found.sum(1) - 1).max() < 0.036
    strongest = found.argmax(1), weights.argmax(1)
    near = np.take_along_axis(weights, strongest[0][:, None], 1)[:, 0] / weights.max(1)
    assert (near > 0.96).all(), "the strongest arrow is the strongest, or within the packing of it"


def test_a_row_of_zeros_stays_zero():
    codes, peaks = pack_rows(np.zeros((2, 3), np.float32))
    assert not codes.any() and not unpack_rows(codes, peaks).any()


def content(**changed):
    rng = np.random.default_rng(0)
    axes = (np.arange(2.0), np.array([4.0, 12.0]), np.array([4.0, 12.0, 20.0]))
    block = BlockRows(
        name="res3.0",
        queries=axes,
        keys=axes,
        weights=rng.random((2, 2, 3, 2, 2, 3), np.float32),
        cell=(8.0, 8.0),
        softmax=False,
        facts=[("Kind", HOSTILE)],
    )
    fields = {
        "title": HOSTILE,
        "summary": HOSTILE,
        "frames": rng.integers(0, 255, (2, 16, 24, 3), dtype=np.uint8),
        "seconds": [0.0, 0.5],
        "duration": 1.0,
        "input_size": (16, 24),
        "video_size": (32, 48),
        "scores": [(HOSTILE, 0.75), ("b", 0.25)],
        "timeline": [(0.0, 0.5, [0.7, 0.3]), (0.5, 1.0, [0.8, 0.2])],
        "blocks": [block],
        "start": (0.0, 4.0, 4.0),
        "notes": [HOSTILE],
    }
    return Explorer(**(fields | changed))


def test_texts_from_outside_stay_texts():
    page = explorer_page(content())
    assert page.count("<script") == page.count("</script") == 2, "the page's own data and script"
    assert "alert(1)</script>" not in page and "&lt;/script&gt;" in page
    data = json.loads(re.search(r'<script id="data"[^>]*>(.*?)</script>', page, re.S)[1])
    assert data["summary"] == data["scores"][0][0] == data["notes"][0] == HOSTILE


def test_the_page_asks_for_nothing():
    page = explorer_page(content())
    assert "default-src 'none'; img-src data:;" in page
    assert not re.search(r"""(?:src|href)\s*=\s*["'](?!data:)""", page)
    assert set(re.findall(r"https?://[^\s\"']+", page)) <= {"http://www.w3.org/2000/svg"}
    assert not re.search(r"\b(fetch|XMLHttpRequest|import)\s*\(", page)


def test_the_pages_rows_are_those_given():
    given = content()
    data = json.loads(
        re.search(r'<script id="data"[^>]*>(.*?)</script>', explorer_page(given), re.S)[1]
    )
    (stored,) = data["blocks"]
    codes, peaks = (gzip.decompress(base64.b64decode(stored[key])) for key in ("rows", "peaks"))
    rows = unpack_rows(
        np.frombuffer(codes, np.uint8).reshape(12, 12), np.frombuffer(peaks, np.float32)
    )
    np.testing.assert_allclose(rows, given.blocks[0].weights.reshape(12, 12), rtol=0.036)
    assert stored["keys"][2] == [4.0, 12.0, 20.0]


def test_weights_that_do_not_fit_their_axes_are_refused():
    one = content().blocks[0]
    short = BlockRows(
        name="res3.0",
        queries=one.queries,
        keys=one.keys,
        weights=one.weights[:1],
        cell=one.cell,
        softmax=False,
    )
    with pytest.raises(ValueError, match=r"res3.0: weights \(1, 2, 3, 2, 2, 3\) do not fit"):
        explorer_page(content(blocks=[short]))
