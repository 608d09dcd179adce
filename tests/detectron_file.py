"""Random weights in the form of Detectron's ImageNet pickles."""

import pickle
import zlib

import numpy as np

from nonlocalnet.weights.detectron import DETECTRON


def detectron_blobs(model):
    """Blobs for a detector's trunk; the last norm of a branch is small, so that depth is tame."""
    blobs = {}
    for ours, tensor in model.backbone.body.state_dict().items():
        if "running" in ours or "nonlocal_block" in ours:
            continue
        (theirs, *_) = DETECTRON.theirs(ours)
        a = np.random.default_rng(zlib.crc32(theirs.encode())).standard_normal(tensor.shape)
        if tensor.ndim == 4:
            blobs[theirs] = (a * np.sqrt(2 / np.prod(tensor.shape[1:]))).astype(np.float32)
        elif theirs.endswith("_s"):
            scale = 0.1 if "branch2c" in theirs else 1.0
            blobs[theirs] = (scale * (1 + 0.1 * a)).astype(np.float32)
        else:
            blobs[theirs] = (0.1 * a).astype(np.float32)
    # conv1 reads pixels from 0 to 255 there.
    blobs["conv1_w"] = blobs["conv1_w"] / 64
    blobs["conv1_b"] = np.full(64, 1e-9, np.float32)
    blobs["fc1000_w"], blobs["fc1000_b"] = np.ones((10, 8), np.float32), np.ones(10, np.float32)
    blobs["conv1_w_momentum"] = np.zeros_like(blobs["conv1_w"])
    return blobs


def write_detectron(path, model):
    path.write_bytes(pickle.dumps({"blobs": detectron_blobs(model)}, protocol=2))
    return path
