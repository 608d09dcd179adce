"""A small network that tells bright frames from dark ones: a timeline needs something to find."""

from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from videos import frame_with_number

import nonlocalnet as nln
from nonlocalnet.data.clips import ClipConfig
from nonlocalnet.engine.features import features


def picture(bright: bool, number: int) -> np.ndarray:
    """A frame of a video: its number in squares, at full light or at a sixth of it."""
    return frame_with_number(number % 1024) // (1 if bright else 6)


def write_model(path: Path, labels: list[str], clip: ClipConfig, name: str = "nl1_i3d_tiny"):
    """Writes a model file whose first label is dark, the second bright; returns the path."""
    torch.manual_seed(0)
    model = nln.build(name, len(labels), width=4).eval()
    for key, parameter in model.named_parameters():
        if key.endswith(("bn3.weight", "norm.weight")):  # zero at the start
            torch.nn.init.constant_(parameter, 0.5)
    nln.save(model, path, labels=labels, clip=asdict(clip))
    dark, bright = (
        features(
            nln.load(path), np.stack([picture(light, n) for n in range(64)]), every=0.2
        ).vectors.mean(0)
        for light in (False, True)
    )
    way, middle = torch.from_numpy(bright - dark), torch.from_numpy(bright + dark) / 2
    way = 6 * way / (way @ way)
    with torch.no_grad():
        model.fc.weight.zero_()
        model.fc.weight[1] = way
        model.fc.bias.fill_(-2)  # of what is neither
        model.fc.bias[:2] = torch.stack([torch.zeros(()), -(way @ middle)])
    nln.save(model, path, labels=labels, clip=asdict(clip))
    return path
