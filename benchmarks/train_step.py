"""One training step: ours against plain eager PyTorch of the same network, in one run.

    python benchmarks/train_step.py nl5_c2d_r50                    # 2 clips of 8 x 224 x 224
    python benchmarks/train_step.py nl5_c2d_r50 --checkpointing    # its cost in time and memory
    python benchmarks/train_step.py nl5_i3d_r50 --frames 128 --batch 1 --checkpointing --only-memory
    python benchmarks/train_step.py --table

A step is forward, cross-entropy, backward and SGD with momentum. Seconds are medians of interleaved
steps, each form in a process of its own. "plain" keeps clips contiguous, the optimiser in its loop
over parameters; "ours" is what `nonlocalnet train` runs: channels last, the fused optimiser, and
the command's policy of waiting threads.
"checkpointing" comes on top. "rate" is three times the network's multiply-adds, twice, over what
one large matrix product reaches in the run.
"""

import argparse
import multiprocessing
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection

import torch
from op import extra_memory, fresh, interleaved, product_rate
from rows import keep, plot, table
from torch.nn import functional as F

import nonlocalnet as nln
from nonlocalnet.models.costs import count

FORMS = ("plain", "ours", "checkpointing")
TRIALS = 3


def step_of(form: str, name: str, batch: int, frames: int, size: int) -> Callable[[], object]:
    torch.manual_seed(0)
    model = nln.build(name, checkpointing=form == "checkpointing").train()
    fused = {} if form == "plain" else {"fused": True}
    options = {"lr": 1e-3, "momentum": 0.9, "weight_decay": 1e-4, **fused}
    x, label = torch.randn(batch, 3, frames, size, size), torch.zeros(batch, dtype=torch.long)
    if form != "plain":
        model = model.to(memory_format=torch.channels_last_3d)
        x = x.contiguous(memory_format=torch.channels_last_3d)
    optimiser = torch.optim.SGD(model.parameters(), **options)

    def step() -> None:
        optimiser.zero_grad()
        F.cross_entropy(model(x), label).backward()
        optimiser.step()

    return step


@contextmanager
def settings(form: str) -> Iterator[None]:
    """The environment that the processes of a form are started in."""
    before = dict(os.environ)
    if form != "plain":
        os.environ |= {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "1000"}  # as the command
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def work(pipe: Connection, make: Callable[..., Callable[[], object]], *given) -> None:
    step = make(*given)
    with suppress(EOFError):  # who asks has ended
        while pipe.recv():
            step()
            pipe.send(True)


def elsewhere(
    form: str, make: Callable[..., Callable[[], object]], *given, daemon: bool = True
) -> Callable[[], object]:
    """The step `make(*given)`, taken in a process of its own, in the environment of a form.

    A daemon may not have workers; another process ends when nobody holds its step any more.
    """
    context = multiprocessing.get_context("spawn")
    pipe, theirs = context.Pipe()
    with settings(form):
        context.Process(target=work, args=(theirs, make, *given), daemon=daemon).start()

    def step() -> None:
        pipe.send(True)
        pipe.recv()

    return step


def memory_of(form: str, *shape) -> float:
    """MiB that one step adds: activations and gradients, the weights not counted."""
    return extra_memory(step_of(form, *shape))


def fresh_memory(form: str, *shape) -> int:
    with settings(form):
        return round(fresh(memory_of, form, *shape))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("networks", nargs="*")
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--frames", type=int, default=8)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--trials", type=int, default=TRIALS)
    parser.add_argument("--checkpointing", action="store_true", help="that form, too")
    parser.add_argument("--memory", action="store_true", help="of every form, too")
    parser.add_argument("--only-memory", action="store_true", help="of the last form, no times")
    parser.add_argument("--keep", default="train_step.jsonl", help="rows are appended to it")
    parser.add_argument("--table", action="store_true", help="print the rows, and draw them")
    options = parser.parse_args()
    forms = FORMS if options.checkpointing else FORMS[:2]
    for name in options.networks:
        shape = (name, options.batch, options.frames, options.size)
        row: dict = dict(zip(("network", "batch", "frames", "px"), shape, strict=True))
        if options.only_memory:
            row[f"MiB, {forms[-1]}"] = fresh_memory(forms[-1], *shape)
            keep(options.keep, row)
            continue
        before = product_rate()
        steps = [elsewhere(form, step_of, form, *shape) for form in forms]
        seconds = interleaved(steps, options.trials)
        rate = max(before, product_rate())
        clip = (options.frames, options.size, options.size)
        flops = 6 * options.batch * count(nln.build(name), clip).multiply_adds
        for form, taken in zip(forms, seconds, strict=True):
            row[f"{form} s"] = round(taken, 2)
            if options.memory:
                row[f"MiB, {form}"] = fresh_memory(form, *shape)
        row["plain / ours"] = round(seconds[0] / seconds[1], 2)
        row["rate"] = f"{flops / seconds[1] / rate:.0%} of {rate / 1e9:.0f} GFLOP/s"
        keep(options.keep, row)
    if options.table:
        table(options.keep)
        plot(options.keep, "train_step.png", "frames", [f"{form} s" for form in FORMS[:2]])


if __name__ == "__main__":
    main()
