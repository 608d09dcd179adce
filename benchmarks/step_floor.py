"""What a training step cannot do without: the floor under train_step.py, measured in one run.

    python benchmarks/step_floor.py nl5_c2d_r50 --batch 2 --frames 8

Every convolution's three kernels (forward, backward to the weights, backward to the input) run
alone, as channels-last images, each shape once times its number. Everything else is charged with
the bytes that it must move over the rate of a copy: nothing is taken for its arithmetic. The whole
step, plain and ours (see train_step.py), is measured before them.
"""

import argparse
from collections import Counter
from collections.abc import Callable

import torch
from op import interleaved, print_table, product_rate
from torch import Tensor, nn
from torch.nn import functional as F
from train_step import step_of

import nonlocalnet as nln
from nonlocalnet.models.costs import count
from nonlocalnet.models.resnet import Bottleneck

TRIALS = 5
FLOAT = 4  # bytes


def copy_rate() -> float:
    """Bytes per second, read and written, of one large copy."""
    source, target = torch.randn(2**26), torch.empty(2**26)
    (seconds,) = interleaved([lambda: target.copy_(source)], TRIALS)
    return 2 * FLOAT * 2**26 / seconds


class Seen:
    """What passes through a network in one forward pass: shapes of convolutions, floats of maps."""

    def __init__(self, model: nn.Module, x: Tensor) -> None:
        self.convs: Counter[tuple] = Counter()
        self.floats: Counter[str] = Counter()
        for part in model.modules():
            if isinstance(part, nn.Conv3d | nn.BatchNorm3d | nn.MaxPool3d | Bottleneck):
                part.register_forward_hook(self._look)
        model(x)

    def _look(self, part: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        x = inputs[0]
        if isinstance(part, nn.Conv3d):
            stem = x.shape[1] == 3
            shape = (*part.weight.shape[:2], *part.kernel_size)
            self.convs[(tuple(x.shape), shape, part.stride, part.padding, stem)] += 1
        elif isinstance(part, nn.BatchNorm3d):
            self.floats["batch norm"] += x.numel()
        elif isinstance(part, nn.MaxPool3d):
            self.floats["pools, wide side"] += x.numel()
            self.floats["pools, narrow side"] += output.numel()
        else:
            self.floats["additions"] += output.numel()


def kernels(key: tuple) -> list[Callable[[], object]]:
    """The convolution's forward, and backward to its weights and, but for the stem, its input."""
    (batch, channels, frames, *size), (wide, _, *kernel), stride, padding, stem = key
    if kernel[0] == 1:  # of one frame: images
        frames = (frames - 1) // stride[0] + 1
        shape, w_shape = (batch * frames, channels, *size), (wide, channels, *kernel[1:])
        stride, padding, form = stride[1:], padding[1:], torch.channels_last
    else:
        shape, w_shape = (batch, channels, frames, *size), (wide, channels, *kernel)
        form = torch.channels_last_3d
    x = torch.randn(shape).contiguous(memory_format=form)
    w = torch.randn(w_shape).contiguous(memory_format=form)
    conv = F.conv2d if len(shape) == 4 else F.conv3d
    grad = torch.randn_like(conv(x, w, None, stride, padding))
    n = len(stride)

    def backward(*mask: bool) -> Callable[[], object]:
        rest = (None, stride, padding, [1] * n, False, [0] * n, 1, [*mask, False])
        return lambda: torch.ops.aten.convolution_backward(grad, x, w, *rest)

    calls: list[Callable[[], object]] = [lambda: conv(x, w, None, stride, padding)]
    calls.append(backward(False, True))
    return calls if stem else [*calls, backward(True, False)]


def flops(key: tuple) -> float:
    """Of one of the three kernels."""
    (batch, channels, *size), (wide, _, *kernel), stride, padding, _ = key
    places = batch
    for length, k, s, p in zip(size, kernel, stride, padding, strict=True):
        places *= (length + 2 * p - k) // s + 1
        channels *= k
    return 2.0 * places * channels * wide


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("network")
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--frames", type=int, default=8)
    parser.add_argument("--size", type=int, default=224)
    options = parser.parse_args()
    clip = (options.frames, options.size, options.size)
    model = nln.build(options.network).train()
    blocks = set(nln.nonlocal_blocks(model))
    with torch.no_grad():
        seen = Seen(model, torch.randn(options.batch, 3, *clip))
    shape = (options.network, options.batch, options.frames, options.size)
    forms = ("plain", "ours")
    steps = interleaved([step_of(form, *shape) for form in forms], TRIALS)
    rate, copy = product_rate(), copy_rate()
    rows, sums, done = [], [0.0, 0.0, 0.0], 0.0
    for key, number in seen.convs.items():
        seconds = [*interleaved(kernels(key), TRIALS), 0.0][:3]
        sums = [total + number * each for total, each in zip(sums, seconds, strict=True)]
        times = 2 if key[4] else 3
        done += number * times * flops(key)
        share = [f"{flops(key) / each / rate:.0%}" if each else "" for each in seconds]
        name = "x".join(map(str, key[1])) + f" of {'x'.join(map(str, key[0]))}"
        rows.append([name, str(number), *(f"{1e3 * each:.1f}" for each in seconds), *share])
    head = ["convolution", "number", "forward ms", "weights ms", "input ms", "", "", ""]
    print_table(head, rows)
    print(f"\nproducts {rate / 1e9:.0f} GFLOP/s, copies {copy / 1e9:.1f} GB/s")
    whole = 3 * 2 * options.batch * count(model, clip).multiply_adds
    floats, weights = seen.floats, sum(p.numel() for p in model.parameters())
    relus = floats["batch norm"]  # those after an addition in place of those before it
    moved = {
        "batch norm, forward (2 reads, 1 write)": 3 * floats["batch norm"],
        "batch norm, backward (4 reads, 1 write)": 5 * floats["batch norm"],
        "ReLU, forward (1, 1), in place": 2 * relus,
        "ReLU, backward (2, 1)": 3 * relus,
        "residual additions, forward and backward (2, 1 each)": 6 * floats["additions"],
        "pools, forward and backward, with their indices": 2 * floats["pools, wide side"]
        + 6 * floats["pools, narrow side"],
        "SGD with momentum (3, 2)": 5 * weights,
    }
    table = [
        ["convolutions, forward, kernels alone", f"{sums[0]:.3f}"],
        ["convolutions, to the weights", f"{sums[1]:.3f}"],
        ["convolutions, to the input", f"{sums[2]:.3f}"],
        [f"products of {len(blocks)} blocks, at the product rate", f"{(whole - done) / rate:.3f}"],
        *([what, f"{FLOAT * n / copy:.3f}"] for what, n in moved.items()),
    ]
    print_table(["part", "s"], table)
    total = sum(float(row[1]) for row in table)
    print("\nwhole step:", ", ".join(f"{f} {t:.2f} s" for f, t in zip(forms, steps, strict=True)))
    print(f"floor with these kernels: {total:.2f} s")
    rest = total - sum(float(row[1]) for row in table[:4])
    print(f"all products at the product rate: {whole / rate:.2f} s of {whole / 1e9:.0f} GFLOP")
    print(f"with the bytes of the rest: {whole / rate + rest:.2f} s")


if __name__ == "__main__":
    main()
