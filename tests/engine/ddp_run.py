"""Trains a few steps with frozen batch norm and no dropout: DATA OUT ACCUMULATE."""

import sys
from functools import partial
from pathlib import Path

import torch

import nonlocalnet as nln
from nonlocalnet.data.clips import ClipConfig
from nonlocalnet.data.folder import read_folder
from nonlocalnet.data.sets import TestVideos, TrainClips
from nonlocalnet.engine.loop import Loop
from nonlocalnet.engine.schedule import cosine
from nonlocalnet.engine.training import train

CLIP = ClipConfig(frames=4, stride=2, crop=32, short_side=(32, 40), test_short_side=32, flip=False)

if __name__ == "__main__":
    data, out, accumulate = sys.argv[1:]
    folder = read_folder(data)
    torch.manual_seed(0)
    model = nln.build("nl1_i3d_tiny", 2, width=4, dropout=0.0)
    for name, parameter in model.named_parameters():
        if name.endswith(("bn3.weight", "norm.weight")):  # zero at the start
            torch.nn.init.constant_(parameter, 0.5)
    nln.freeze_bn(model)
    train(
        model,
        TrainClips(folder.splits["train"], CLIP, 3),
        TestVideos(folder.splits["test"][:5], CLIP, (1, 1)),
        Path(out),
        Loop(
            steps=8,
            batch=2,
            lr=0.02,
            schedule=partial(cosine, steps=8, warmup=2),
            accumulate=int(accumulate),
            validate_every=4,
            checkpoint_every=3,
            workers=0,
            seed=3,
            progress=False,
        ),
        labels=folder.labels,
        choose_best=False,
    )
