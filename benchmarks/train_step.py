"""One training step: ours against plain eager PyTorch of the same network, in one run.

    python benchmarks/train_step.py nl5_c2d_r50                    # 2 clips of 8 x 224 x 224
    python benchmarks/train_step.py nl5_c2d_r50 --checkpointing    # its cost in time and memory
    python benchmarks/train_step.py nl5_i3d_r50 --frames 128 --batch 1 --checkpointing --only-memory
    python benchmarks/train_step.py --table

A step is forward, cross-entropy, backward and SGD with momentum. Seconds are medians of interleaved
steps. "plain" keeps clips contiguous and the optimiser in its loop over parameters; the other
forms are channels last, with the fused optimiser, and with checkpointing on top. "rate" is three
times the network's multiply-adds, twice, over what one large matrix product reaches in the run.
"""

import argparse
from collections.abc import Callable

import torch
from op import extra_memory, fresh, interleaved, product_rate
from rows import keep, plot, table
from torch.nn import functional as F

import nonlocalnet as nln
from nonlocalnet.models.costs import count

FORMS = ("plain", "channels last", "checkpointing")
TRIALS = 3


def step_of(form: str, name: str, batch: int, frames: int, size: int) -> Callable[[], object]:
    torch.manual_seed(0)
    model = nln.build(name, checkpointing=form == "checkpointing").train()
    fused = {} if form == "plain" else {"fused": True}
    options = {"lr": 1e-3, "momentum": 0.9, "weight_decay": 1e-4, **fused}
    optimiser = torch.optim.SGD(model.parameters(), **options)
    x, label = torch.randn(batch, 3, frames, size, size), torch.zeros(batch, dtype=torch.long)
    if form != "plain":
        x = x.contiguous(memory_format=torch.channels_last_3d)

    def step() -> None:
        optimiser.zero_grad()
        F.cross_entropy(model(x), label).backward()
        optimiser.step()

    return step


def memory_of(form: str, name: str, batch: int, frames: int, size: int) -> float:
    """MiB that one step adds: activations and gradients, the weights not counted."""
    return extra_memory(step_of(form, name, batch, frames, size))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("networks", nargs="*")
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--frames", type=int, default=8)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--checkpointing", action="store_true", help="that form, too")
    parser.add_argument("--only-memory", action="store_true", help="of the last form")
    parser.add_argument("--keep", default="train_step.jsonl", help="rows are appended to it")
    parser.add_argument("--table", action="store_true", help="print the rows, and draw them")
    options = parser.parse_args()
    forms = FORMS if options.checkpointing else FORMS[:2]
    for name in options.networks:
        shape = (name, options.batch, options.frames, options.size)
        row: dict = dict(zip(("network", "batch", "frames", "px"), shape, strict=True))
        if options.only_memory:
            row[f"MiB, {forms[-1]}"] = round(fresh(memory_of, forms[-1], *shape))
            keep(options.keep, row)
            continue
        before = product_rate()
        seconds = interleaved([step_of(form, *shape) for form in forms], TRIALS)
        rate = max(before, product_rate())
        clip = (options.frames, options.size, options.size)
        flops = 6 * options.batch * count(nln.build(name), clip).multiply_adds
        for form, taken in zip(forms, seconds, strict=True):
            row[f"{form} s"] = round(taken, 2)
            row[f"MiB, {form}"] = round(fresh(memory_of, form, *shape))
        row["plain / channels last"] = round(seconds[0] / seconds[1], 2)
        row["rate"] = f"{flops / seconds[1] / rate:.0%} of {rate / 1e9:.0f} GFLOP/s"
        keep(options.keep, row)
    if options.table:
        table(options.keep)
        plot(options.keep, "train_step.png", "frames", [f"{form} s" for form in FORMS[:2]])


if __name__ == "__main__":
    main()
