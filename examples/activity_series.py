"""A non-local block in a small 1-D ResNet: what does a person do, from a phone at the waist?

Accelerometer and gyroscope at 50 Hz (the series of "Smartphone-Based Recognition of Human
Activities and Postural Transitions", Reyes-Ortiz et al., 2015, as one .npz), windows of 5.12 s,
six activities; the people tested on are not among those trained on.

Command  python examples/activity_series.py ../shared/data/series/hapt.npz
"""

import argparse

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import nonlocalnet as nln

WINDOW, HOP = 256, 128  # samples
ACTIVITIES = ("walk", "up", "down", "sit", "stand", "lie")


def windows(path: str, people: range) -> tuple[Tensor, Tensor]:  # (B, 6, WINDOW), (B,)
    """Windows of some people in which one activity fills the whole window."""
    clips, labels = [], []
    with np.load(path) as recordings:
        for key in recordings.files:
            if int(key.split("_")[0]) not in people:
                continue
            series = recordings[key].astype(np.float32)  # (7, samples); the last row is the label
            for start in range(0, series.shape[1] - WINDOW + 1, HOP):
                part = series[:, start : start + WINDOW]
                if 1 <= part[6, 0] <= len(ACTIVITIES) and (part[6] == part[6, 0]).all():
                    clips.append(part[:6])
                    labels.append(int(part[6, 0]) - 1)
    return torch.from_numpy(np.stack(clips)), torch.tensor(labels)


class Residual(nn.Module):
    """Two convolutions and a shortcut, half as long as their input."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv1d(inputs, outputs, 5, stride=2, padding=2, bias=False),
            nn.BatchNorm1d(outputs),
            nn.ReLU(),
            nn.Conv1d(outputs, outputs, 5, padding=2, bias=False),
            nn.BatchNorm1d(outputs),
        )
        self.shortcut = nn.Conv1d(inputs, outputs, 1, stride=2)

    def forward(self, x: Tensor) -> Tensor:  # (B, C, L) -> (B, C', L / 2)
        return F.relu(self.body(x) + self.shortcut(x))


def network(width: int = 16) -> nn.Sequential:
    stages = [Residual(6, width), Residual(width, 2 * width), Residual(2 * width, 4 * width)]
    head = [nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(4 * width, len(ACTIVITIES))]
    return nn.Sequential(*stages, *head)


def accuracy(net: nn.Module, x: Tensor, y: Tensor) -> float:
    with torch.no_grad():
        return float((net.eval()(x).argmax(1) == y).float().mean())


def main(arguments: list[str] | None = None) -> dict[str, float]:
    parser = argparse.ArgumentParser(description="A non-local block on activity series.")
    parser.add_argument("series", help="hapt.npz")
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--people", type=int, default=20, help="to train on, of 30")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    x, y = windows(options.series, range(1, options.people + 1))
    held_out = windows(options.series, range(options.people + 1, 31))
    found = {}
    for name in ("1-D ResNet", "with a non-local block"):
        torch.manual_seed(options.seed)
        net = network()
        if name != "1-D ResNet":
            nln.insert_nonlocal(net, at=["1"], example=x[:1])  # 64 steps in time
        optimizer = torch.optim.AdamW(net.parameters(), lr=0.002, weight_decay=0.05)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.002, options.steps)
        for _ in range(options.steps):
            some = torch.randint(len(x), (64,))
            optimizer.zero_grad()
            F.cross_entropy(net(x[some]), y[some]).backward()
            optimizer.step()
            schedule.step()
        found[name] = accuracy(net, *held_out)
        print(
            f"{name:24} {100 * found[name]:5.1f} % of {len(held_out[1])} windows of held-out people"
        )
    return found


if __name__ == "__main__":
    main()
