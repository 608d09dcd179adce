"""The operation: our engines against the fixed dense form, in one run.

    python benchmarks/op.py                 # every shape and kind: time, memory, rate
    python benchmarks/op.py --acceptance    # the 16 x 28 x 28 x 512 clip with pooled keys only
    python benchmarks/op.py --crossover     # small sizes: where "auto" changes engine

Times are medians of interleaved calls. Memory is the peak of a fresh process per cell, forward and
backward, beyond inputs, outputs and their gradients. The rate is that of the matrix products the
engine needs at least, as a share of what one large product reaches in the same run.
"""

import argparse
import multiprocessing
import re
import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import torch
from torch import Tensor

from nonlocalnet.ops.operation import exact_is_faster, nonlocal_op
from nonlocalnet.ops.pairwise import KINDS, Kind

# T, H, W, C of the block's input; the operation sees C / 2 channels and keys pooled 2 x 2.
SHAPES = [(4, 14, 14, 1024), (4, 28, 28, 512), (16, 14, 14, 1024), (16, 28, 28, 512)]
SHAPES += [(8, 56, 56, 256)]
TRIALS = 9


def interleaved(calls: Sequence[Callable[[], object]], trials: int = TRIALS) -> list[float]:
    """Median seconds of each call, the calls taking turns; short ones are repeated for 20 ms."""
    seconds: list[list[float]] = [[] for _ in calls]
    for trial in range(trials + 1):  # the first one warms up
        for call, found in zip(calls, seconds, strict=True):
            start, count = time.perf_counter(), 0
            while not count or time.perf_counter() - start < 0.02:
                call()
                count += 1
            if trial:
                found.append((time.perf_counter() - start) / count)
    return [statistics.median(found) for found in seconds]


def extra_memory(step: Callable[[], object]) -> float:
    """MiB that the process grows by at most during one call (Linux)."""
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts from here
    before = status("VmRSS")
    kept = step()
    peak = status("VmHWM")
    del kept
    return (peak - before) / 1024


def status(field: str) -> int:
    found = re.search(rf"{field}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found
    return int(found[1])


def fresh(function: Callable[..., float], *arguments: object) -> float:
    """The function's result in a process of its own, which may start others."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def product_rate() -> float:
    """Operations per second of one large matrix product."""
    a = torch.randn(2048, 2048)
    (seconds,) = interleaved([lambda: a @ a])
    return 2 * 2048**3 / seconds


def print_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    print("\n| " + " | ".join(head) + " |\n|" + "---|" * len(head))
    for row in rows:
        print("| " + " | ".join(row) + " |")


def sizes(shape: tuple[int, ...], kind: str) -> tuple[int, int, int, int]:
    """N, M, D, C of the operation in a block on this shape."""
    t, h, w, channels = shape
    # Without embedding, queries and keys are x itself.
    depth = channels if kind in ("gaussian", "gaussian_distance") else channels // 2
    return t * h * w, t * (h // 2) * (w // 2), depth, channels // 2


def inputs(batch: int, n: int, m: int, d: int, c: int, kind: str) -> list[Tensor]:
    rng = torch.Generator().manual_seed(0)
    shapes = [(batch, n, d), (batch, m, d), (batch, m, c)]
    shapes += [(2 * d,)] if kind == "concatenation" else []
    # Products of size 1: no softmax so sharp that its weights underflow.
    return [torch.randn(shape, generator=rng) * d**-0.25 for shape in shapes]


def dense(theta: Tensor, phi: Tensor, g: Tensor, kind: str, w_f: Tensor | None = None) -> Tensor:
    """The fixed dense forms that the claims are against; each stores N x M."""
    if kind == "dot_product":
        return (theta @ phi.mT / phi.shape[1]) @ g
    if kind == "concatenation":
        assert w_f is not None
        a, b = theta @ w_f[: theta.shape[2]], phi @ w_f[theta.shape[2] :]
        return torch.relu(a[:, :, None] + b[:, None]) @ g / phi.shape[1]
    if kind == "gaussian_distance":
        half = phi.square().sum(-1)[:, None] / 2
        return torch.softmax(theta @ phi.mT - half, -1) @ g
    return torch.softmax(theta @ phi.mT, -1) @ g


def call(engine: str, tensors: list[Tensor], kind: Kind) -> Callable[[], Tensor]:
    """A function of no arguments that runs one engine once."""
    theta, phi, g, *w_f = tensors
    if engine == "fixed":
        return lambda: dense(theta, phi, g, kind, *w_f)
    options = {"w_f": w_f[0]} if w_f else {}
    return lambda: nonlocal_op(theta, phi, g, kind=kind, engine=engine, **options)


def with_backward(
    forward: Callable[[], Tensor], tensors: list[Tensor], grad: Tensor
) -> Callable[[], object]:
    return lambda: torch.autograd.grad(forward(), tensors, grad)


def products(kind: str, batch: int, n: int, m: int, d: int, c: int) -> float:
    """Operations in the matrix products of forward + backward that cannot be left out."""
    if kind == "dot_product":
        return batch * 2 * 3 * (n + m) * d * c
    if kind == "concatenation":
        return 0.0
    return batch * 2 * n * m * (4 * d + 3 * c)  # weights again in backward, storing none


def memory_of(engine: str, kind: Kind, batch: int, n: int, m: int, d: int, c: int) -> float:
    """MiB beyond inputs, output and gradients, at the peak of forward + backward."""
    tensors = [part.requires_grad_() for part in inputs(batch, n, m, d, c, kind)]
    grad = torch.ones(batch, n, c)
    held = 4 * (grad.numel() + sum(part.numel() for part in tensors)) / 2**20  # y, gradients
    warm = [part[:1, :8].detach().requires_grad_() for part in tensors[:3]]
    small = [*warm, *tensors[3:]]
    with_backward(call(engine, small, kind), small, torch.ones(1, 8, c))()

    def step() -> object:
        y = call(engine, tensors, kind)()
        return y, torch.autograd.grad(y, tensors, grad)

    return extra_memory(step) - held


def compare(
    shapes: Sequence[tuple[int, ...]], kinds: Sequence[Kind], batches: Sequence[int], memory: bool
) -> None:
    rate = product_rate()
    print(f"Matrix products of this machine: {rate / 1e9:.0f} GFLOP/s (2048 x 2048).\n")
    rows = []
    for shape in shapes:
        for kind in kinds:
            for batch in batches:
                n, m, d, c = sizes(shape, kind)
                if batch * n * m * 4 * 3 > 6 * 2**30:
                    rows.append([*label(shape, batch, kind), "over 6 GiB dense: left out"])
                    continue
                tensors = [part.requires_grad_() for part in inputs(batch, n, m, d, c, kind)]
                grad = torch.ones(batch, n, c)
                engines = ("fixed", "exact")
                calls = [call(engine, tensors, kind) for engine in engines]
                trials = TRIALS if batch * n * m < 10**8 else 3
                with torch.no_grad():
                    forward = interleaved(calls, trials)
                both = interleaved([with_backward(f, tensors, grad) for f in calls], trials)
                peaks = ["", ""]
                if memory:
                    size = (batch, n, m, d, c)
                    peaks = [f"{fresh(memory_of, e, kind, *size):.0f}" for e in engines]
                flops = products(kind, batch, n, m, d, c)
                theta, phi, g = tensors[:3]
                rows.append(
                    [
                        *label(shape, batch, kind),
                        f"{1e3 * forward[0]:.1f} / {1e3 * forward[1]:.1f}",
                        f"{forward[0] / forward[1]:.2f}",
                        f"{1e3 * both[0]:.1f} / {1e3 * both[1]:.1f}",
                        f"**{both[0] / both[1]:.2f}**",
                        " / ".join(peaks),
                        f"{flops / both[1] / rate:.0%}" if flops else "no products",
                        "exact" if exact_is_faster(theta, phi, g, kind) else "dense",
                    ]
                )
                print("#", *rows[-1], flush=True)
    head = "T,H,W,C; batch; kind; forward ms, dense / exact; ratio; forward + backward ms; ratio"
    head += "; extra MiB; share of rate; auto takes"
    print_table(head.split("; "), rows)


def label(shape: tuple[int, ...], batch: int, kind: str) -> list[str]:
    return [",".join(map(str, shape)), str(batch), kind]


def crossover(kinds: Sequence[Kind]) -> None:
    """Dense over exact, forward + backward, around the sizes where they meet."""
    rows = []
    grids = [(1, 196, 49), (1, 196, 196), (1, 784, 196), (1, 784, 784), (1, 3136, 784)]
    grids += [(4, 784, 196), (4, 3136, 784), (1, 3136, 3136), (64, 16, 16)]
    for kind in kinds:
        for width in (32, 256, 512):
            row = [kind, str(width)]
            for batch, n, m in grids:
                tensors = inputs(batch, n, m, width, width, kind)
                tensors = [part.requires_grad_() for part in tensors]
                grad = torch.ones(batch, n, width)
                pair = [call(engine, tensors, kind) for engine in ("dense", "exact")]
                slow, fast = interleaved([with_backward(f, tensors, grad) for f in pair], 5)
                took = "e" if exact_is_faster(*tensors[:3], kind) else "d"
                row.append(f"{slow / fast:.2f} {took}")
            rows.append(row)
            print("#", *row, flush=True)
    print_table(["kind", "width", *(f"{b} x {n} x {m}" for b, n, m in grids)], rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--acceptance", action="store_true")
    parser.add_argument("--crossover", action="store_true")
    parser.add_argument("--kinds", nargs="+", default=KINDS, choices=KINDS)
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 4])
    parser.add_argument("--no-memory", action="store_true")
    options = parser.parse_args()
    if options.crossover:
        crossover(options.kinds)
    elif options.acceptance:
        compare([(16, 28, 28, 512)], options.kinds, [1], not options.no_memory)
    else:
        compare(SHAPES, options.kinds, options.batches, not options.no_memory)


if __name__ == "__main__":
    main()
