"""The operation against the loops of the paper."""

import pytest
import torch

from nonlocalnet.ops.operation import ENGINES, nonlocal_op
from nonlocalnet.ops.pairwise import KINDS, SOFTMAX, nonlocal_weights
from nonlocalnet.ops.reference import nonlocal_by_loops


def inputs(n, m, d, c, dtype=torch.float64, kind="gaussian", seed=0):
    rng = torch.Generator().manual_seed(seed)
    theta = torch.randn(2, n, d, generator=rng, dtype=dtype)
    phi = torch.randn(2, m, d, generator=rng, dtype=dtype)
    g = torch.randn(2, m, c, generator=rng, dtype=dtype)
    w_f = torch.randn(2 * d, generator=rng, dtype=dtype) if kind == "concatenation" else None
    return theta, phi, g, w_f


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("n", "m", "d", "c"), [(6, 6, 4, 4), (7, 2, 4, 3), (1, 5, 1, 2)])
def test_equals_its_equation(kind, n, m, d, c):
    theta, phi, g, w_f = inputs(n, m, d, c, kind=kind)
    scale = 1.0 if kind == "concatenation" else 0.7
    want = torch.stack(
        [
            nonlocal_by_loops(*clip, kind=kind, scale=scale, w_f=w_f)
            for clip in zip(theta, phi, g, strict=True)
        ]
    )
    y = nonlocal_op(theta, phi, g, kind=kind, scale=scale, w_f=w_f)
    torch.testing.assert_close(y, want, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("kind", KINDS)
def test_the_papers_scale_is_one(kind):
    theta, phi, g, w_f = inputs(5, 7, 3, 1, kind=kind)
    for function, parts in ((nonlocal_op, (theta, phi, g)), (nonlocal_weights, (theta, phi))):
        told = function(*parts, kind=kind, scale=1.0, w_f=w_f)
        assert torch.equal(function(*parts, kind=kind, w_f=w_f), told)


def test_rows_of_the_softmax_kinds_sum_to_one():
    summing = []
    for kind in ("gaussian", "embedded_gaussian", "dot_product", "concatenation", *KINDS[4:]):
        theta, phi, _, w_f = inputs(5, 7, 3, 1, kind=kind)
        sums = nonlocal_weights(theta, phi, kind=kind, w_f=w_f).sum(-1)
        summing += [kind] if torch.allclose(sums, torch.ones_like(sums)) else []
    assert summing == ["gaussian", "embedded_gaussian", "gaussian_distance"] == list(SOFTMAX)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("kind", KINDS)
def test_shapes_can_be_asked_without_data(kind, engine):
    parts = [None if part is None else part.to("meta") for part in inputs(5, 7, 3, 2, kind=kind)]
    y = nonlocal_op(*parts[:3], kind=kind, w_f=parts[3], engine=engine)
    assert y.is_meta and y.shape == (2, 5, 2)


@pytest.mark.parametrize("kind", KINDS)
def test_rows_asked_for_are_rows_of_the_whole(kind):
    theta, phi, _, w_f = inputs(5, 7, 3, 1, kind=kind)
    rows = torch.tensor([4, 0, 4])
    whole = nonlocal_weights(theta, phi, kind=kind, w_f=w_f)
    asked = nonlocal_weights(theta, phi, kind=kind, w_f=w_f, rows=rows)
    torch.testing.assert_close(asked, whole[:, rows])


def test_distance_keeps_its_digits_far_from_the_origin():
    theta, phi, _, _ = inputs(5, 7, 3, 1, dtype=torch.float32)
    near = nonlocal_weights(theta, phi, kind="gaussian_distance")
    # 1024 is exact in float32, and so is every sum with a coarse fraction.
    theta, phi = (part.mul(256).round().div(256) for part in (theta, phi))
    near = nonlocal_weights(theta, phi, kind="gaussian_distance")
    far = nonlocal_weights(theta + 1024, phi + 1024, kind="gaussian_distance")
    torch.testing.assert_close(far, near, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "gausian"}, "unknown kind 'gausian'; choose one of gaussian, "),
        ({"phi": torch.zeros(2, 4, 5)}, r"got \(2, 3, 6\) and \(2, 4, 5\)"),
        ({"phi": torch.zeros(3, 4, 6)}, r"got \(2, 3, 6\) and \(3, 4, 6\)"),
        ({"theta": torch.zeros(3, 6)}, r"got \(3, 6\) and \(2, 4, 6\)"),
        ({"phi": torch.zeros(2, 4, 6, 1)}, r"got \(2, 3, 6\) and \(2, 4, 6, 1\)"),
        ({"phi": torch.zeros(2, 0, 6), "g": torch.zeros(2, 0, 1)}, r"no key \(M = 0\)"),
        ({"g": torch.zeros(2, 3, 1)}, r"got \(2, 4, 6\) and \(2, 3, 1\)"),
        ({"w_f": torch.zeros(12)}, "w_f belongs to kind 'concatenation'"),
        ({"kind": "concatenation"}, r"needs w_f of shape \(12,\), got None$"),
        ({"kind": "concatenation", "w_f": torch.zeros(6)}, r"\(12,\), got \(6,\)"),
        ({"kind": "concatenation", "w_f": torch.zeros(12), "scale": 2.0}, "got 2.0"),
        ({"engine": "fast"}, "unknown engine 'fast'; choose one of dense, exact, auto"),
    ],
)
def test_errors_name_the_rule_and_what_came(change, message, engine):
    arguments = {
        "engine": engine,
        "theta": torch.zeros(2, 3, 6),
        "phi": torch.zeros(2, 4, 6),
        "g": torch.zeros(2, 4, 1),
    }
    with pytest.raises(ValueError, match=message):
        nonlocal_op(**(arguments | change))
    if not {"g", "engine"} & set(change):
        del arguments["g"], arguments["engine"]
        with pytest.raises(ValueError, match=message):
            nonlocal_weights(**({"kind": "gaussian"} | arguments | change))
