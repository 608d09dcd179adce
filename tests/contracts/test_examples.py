"""The examples run, at tiny scale; with the real series, where they are, the larger one learns."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
SERIES = Path(__file__).parents[3] / "shared" / "data" / "series" / "hapt.npz"


def example(name: str):
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def series(tmp_path):
    """Three people whose activities are sines of different speeds."""
    rng, time = np.random.default_rng(0), np.arange(600) / 50
    recordings = {}
    for person in (1, 2, 30):
        parts = []
        for activity in range(1, 7):
            wave = np.sin(2 * np.pi * activity * time) + 0.1 * rng.standard_normal((6, 600))
            parts.append(np.vstack([wave, np.full(600, activity)]))
        recordings[f"{person}_0"] = np.hstack(parts).astype(np.float16)
    np.savez(tmp_path / "series.npz", **recordings)
    return tmp_path / "series.npz"


def test_a_block_in_a_1d_network(series):
    found = example("activity_series").main([str(series), "--people", "2", "--steps", "40"])
    assert len(found) == 2
    assert min(found.values()) > 0.5  # a guess is 1/6


def test_nobody_is_trained_and_tested_on(series):
    read = example("activity_series").windows
    assert len(read(str(series), range(1, 3))[1]) == 2 * len(read(str(series), range(3, 31))[1])


@pytest.mark.skipif(not SERIES.exists(), reason=f"needs the real series {SERIES}")
def test_the_real_series_have_the_windows_that_the_example_takes():
    x, y = example("activity_series").windows(str(SERIES), range(1, 3))
    assert x.shape[1:] == (6, 256)
    assert sorted(y.unique().tolist()) == list(range(6))


def test_a_block_in_a_2d_network():
    found = example("same_hue").main(["--steps", "2", "--batch", "4"])
    assert list(found) == ["2-D network", "with a non-local block"]


def test_squares_are_farther_apart_than_a_local_network_sees():
    import torch

    module = example("same_hue")
    net = module.network()[:6].eval()
    x = torch.zeros(1, 3, module.HEIGHT, module.WIDTH, requires_grad=True)
    net(x)[0, :, 2, 10].sum().backward()
    assert x.grad is not None
    columns = x.grad[0].abs().sum((0, 1)).nonzero().flatten()
    assert columns.max() - columns.min() + 1 < module.WIDTH - 2 * 10


@pytest.mark.long
def test_the_block_sees_what_the_2d_network_cannot():
    found = example("same_hue").main([])
    assert found["2-D network"] < 0.6
    assert found["with a non-local block"] > 0.9
