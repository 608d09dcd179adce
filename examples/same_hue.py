"""A non-local block in a small 2-D network: do two squares, far apart, have the same hue?

The network's fields of view are narrower than the distance, so without a block its score is a sum
of what it sees at each place, and "the same" is no such sum (an exclusive or): it cannot learn it.

Command  python examples/same_hue.py
"""

import argparse

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import nonlocalnet as nln

HEIGHT, WIDTH, SIDE = 10, 40, 4  # px; one square lies in the left 10 columns, one in the right 10
HUES = torch.tensor([[0.2, 0.4, 1.0], [1.0, 0.5, 0.1]])  # blue, orange


def images(count: int, random: torch.Generator) -> tuple[Tensor, Tensor]:  # (B, 3, H, W), (B,)
    """Images, and 1 where both squares have the same hue."""
    x = 0.25 + 0.05 * torch.randn(count, 3, HEIGHT, WIDTH, generator=random)
    hues = torch.randint(2, (count, 2), generator=random)
    rows, columns = torch.arange(HEIGHT)[:, None], torch.arange(WIDTH)
    for hue, first in zip(hues.T, (0, WIDTH - 10), strict=True):
        top, left = torch.randint(10 - SIDE, (2, count, 1, 1), generator=random)
        inside = (rows - top >= 0) & (rows - top < SIDE)
        inside = inside & (first + left <= columns) & (columns < first + left + SIDE)
        x = torch.where(inside[:, None], HUES[hue][:, :, None, None], x)
    return x, (hues[:, 0] == hues[:, 1]).long()


def network(channels: int = 32) -> nn.Sequential:
    """Fields of view of 13 px at most; the squares are at least 20 px apart."""
    return nn.Sequential(
        nn.Sequential(nn.Conv2d(3, channels, 5, stride=2, padding=2), nn.BatchNorm2d(channels)),
        nn.ReLU(),
        nn.Conv2d(channels, channels, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(channels, channels, 3, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(channels, 2),
    )


def main(arguments: list[str] | None = None) -> dict[str, float]:
    parser = argparse.ArgumentParser(description="A non-local block on small images.")
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    held_out = images(1000, torch.Generator().manual_seed(options.seed + 1_000_000))
    found = {}
    for name in ("2-D network", "with a non-local block"):
        torch.manual_seed(options.seed)
        random = torch.Generator().manual_seed(options.seed)
        net = network()
        if name != "2-D network":
            nln.insert_nonlocal(net, at=["3"], example=held_out[0][:1])
        optimizer = torch.optim.AdamW(net.parameters(), lr=0.003)
        for _ in range(options.steps):
            x, y = images(options.batch, random)
            optimizer.zero_grad()
            F.cross_entropy(net(x), y).backward()
            optimizer.step()
        net.eval()
        with torch.no_grad():
            found[name] = float((net(held_out[0]).argmax(1) == held_out[1]).float().mean())
        print(f"{name:24} {100 * found[name]:5.1f} % of 1000 held-out images; a guess is 50 %")
    return found


if __name__ == "__main__":
    main()
