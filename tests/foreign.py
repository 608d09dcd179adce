"""Checkpoints of other projects: regenerated from ../shared/data/foreign, and small random ones."""

import json
import pickle
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch

import nonlocalnet as nln
from nonlocalnet.weights.fit import TABLES

FOREIGN = Path(__file__).parents[2] / "shared" / "data" / "foreign"

WIDTH = 4  # of the smallest networks that a source could have trained
SOURCES = {
    "caffe2": ("nl5_i3d_r50", "official"),
    "slowfast": ("nl5_i3d_r50", "slowfast"),
    "mmaction2": ("nl5_i3d_r50", "mmaction2"),
    "pytorchvideo": ("i3d_r50", "pytorchvideo"),
    "gluoncv": ("nl5_i3d_r50", "gluoncv"),
    "nonlocalnet": ("nl5_i3d_r50", "paper"),
}


def facts(name: str) -> dict:
    """What a source computed, or a skip where the data is absent."""
    path = FOREIGN / f"{name}.json"
    if not path.is_file():
        pytest.skip(f"needs {path}")
    return json.loads(path.read_text(encoding="utf-8"))


def regenerate(keys: dict[str, list[int]], factor: float = 0.25) -> dict[str, np.ndarray]:
    """The weights that the README there describes, for any names and shapes."""
    weights = {}
    for key, shape in keys.items():
        a = np.random.default_rng(zlib.crc32(key.encode())).standard_normal(shape)
        if key.endswith(("running_var", "_riv")):
            a = 0.5 + 0.5 * np.abs(a)
        elif len(shape) == 1:
            a = 1 + 0.1 * a if key.endswith((".weight", "_bn_s")) else 0.1 * a
        else:
            a = a / np.sqrt(np.prod(shape[1:]))
            a = a * factor if "theta" in key or "phi" in key else a
        weights[key] = a.astype(np.float32)
    return weights


def small(source: str, name: str | None = None, num_classes: int = 5, **options):
    """A source's weights of a narrow network: our names and shapes, renamed, random values."""
    usual, preset = SOURCES[source]
    with torch.device("meta"):
        model = nln.build(name or usual, num_classes, preset, width=WIDTH, **options)
    keys = {
        theirs[0]: list(tensor.shape)
        for ours, tensor in model.state_dict().items()
        if not ours.endswith("num_batches_tracked")
        if (theirs := TABLES[source].theirs(ours))
        if not (source == "mmaction2" and ours.endswith("w_z.bias"))
    }
    weights = regenerate(keys)
    if source == "gluoncv":  # which saves these twice
        for key in [key for key in weights if ".nonlocal_block.W." in key]:
            weights[key.replace(".W.", ".W_bn.0.")] = weights[key]
        weights |= {"head.1.weight": weights["fc.weight"], "head.1.bias": weights["fc.bias"]}
    return weights


def clip(shape: list[int]) -> torch.Tensor:
    """The clip of that README."""
    return torch.from_numpy(np.random.default_rng(7).standard_normal(shape)).float()


def write(weights: dict[str, np.ndarray], source: str, path: Path) -> Path:
    """A file in the source's own container."""
    if source == "caffe2":
        path.write_bytes(pickle.dumps({"blobs": weights}, protocol=2))
    else:
        state = {key: torch.from_numpy(value) for key, value in weights.items()}
        container = {"gluoncv": None, "mmaction2": "state_dict"}.get(source, "model_state")
        torch.save({container: state} if container else state, path)
    return path
