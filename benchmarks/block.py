"""The whole block against those of mmcv-lite, pytorchvideo and timm, in one run.

    python benchmarks/block.py                        # every shape, peer and kind, batch 1 and 4
    python benchmarks/block.py --batches 1 --shapes 0 1
    python benchmarks/block.py --profile              # where one block's time goes

Ratios are the peer's time over ours, medians of interleaved calls (9, or 3 where one call takes
seconds), training mode, contiguous input. Clips are 3-D for mmcv-lite and pytorchvideo; timm's
block is 2-D, and mmcv-lite's 2-D one is measured beside it: frames as a batch of images. The peers'
flags are matched: mmcv-lite pools after the projections, pytorchvideo before, timm not at all.
"""

import argparse
import math
import warnings
from collections.abc import Callable, Iterator

import torch
from op import SHAPES, TRIALS, extra_memory, fresh, interleaved, print_table, product_rate
from torch import Tensor, nn

from nonlocalnet.nn.block import NonLocalBlock

PAIRS = [("mmcv3d", kind) for kind in ("gaussian", "embedded_gaussian", "dot_product")]
PAIRS += [("mmcv3d", "concatenation")]
PAIRS += [("pytorchvideo", "embedded_gaussian"), ("pytorchvideo", "dot_product")]
PAIRS += [("mmcv2d", kind) for kind in ("gaussian", "embedded_gaussian", "dot_product")]
PAIRS += [("mmcv2d", "concatenation"), ("timm", "embedded_gaussian")]
MOST = 6 * 2**30
"""Bytes of the peer's largest tensors beyond which a row is left out."""


def peer_block(peer: str, kind: str, channels: int) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from mmcv.cnn.bricks.non_local import NonLocal2d, NonLocal3d
        from pytorchvideo.layers.nonlocal_net import create_nonlocal
        from timm.layers.non_local_attn import NonLocalAttn
    if peer == "timm":
        return NonLocalAttn(channels, rd_channels=channels // 2)
    if peer == "pytorchvideo":
        instantiation = "softmax" if kind == "embedded_gaussian" else kind
        return create_nonlocal(
            dim_in=channels,
            dim_inner=channels // 2,
            pool_size=(1, 2, 2),
            instantiation=instantiation,
        )
    return (NonLocal3d if peer == "mmcv3d" else NonLocal2d)(channels, mode=kind, sub_sample=True)


def our_block(peer: str, kind: str, channels: int) -> NonLocalBlock:
    options = {
        "mmcv3d": {"norm": None},
        "mmcv2d": {"norm": None, "ndim": 2},
        "pytorchvideo": {"subsample_input": True},
        "timm": {"ndim": 2, "subsample": 1},
    }[peer]
    return NonLocalBlock(channels, kind=kind, **options)


def example(peer: str, shape: tuple[int, ...], batch: int) -> Tensor:
    t, h, w, channels = shape
    size = (batch, channels, t, h, w) if peer in ("mmcv3d", "pytorchvideo") else None
    rng = torch.Generator().manual_seed(0)
    return torch.randn(size or (batch * t, channels, h, w), generator=rng)


def step(block: nn.Module, x: Tensor) -> Callable[[], object]:
    """Forward and backward, to the input and every parameter."""
    places = [x, *block.parameters()]
    grad = torch.ones_like(x)
    return lambda: torch.autograd.grad(block(x), places, grad, allow_unused=True)


def peer_bytes(peer: str, kind: str, x: Tensor) -> int:
    """The peer's largest tensors: two copies of the pairs, each 2 D wide to concatenate."""
    pooled = 1 if peer == "timm" else 4
    n = math.prod(x.shape[2:])
    wide = x.shape[1] if kind == "concatenation" else 1
    return 4 * 2 * len(x) * n * (n // pooled) * wide


def memory_of(ours: bool, peer: str, kind: str, shape: tuple[int, ...], batch: int) -> float:
    """MiB that one forward + backward adds, the result and gradients included."""
    block = (our_block if ours else peer_block)(peer, kind, shape[3])
    x = example(peer, shape, batch)
    return extra_memory(step(block, x.requires_grad_()))


def rows_of(
    peer: str, kind: str, shape: tuple[int, ...], batch: int, memory: bool
) -> Iterator[tuple[list[str], float]]:
    x = example(peer, shape, batch)
    name = [",".join(map(str, shape)), str(batch), peer, kind]
    if peer_bytes(peer, kind, x) > MOST:
        need = peer_bytes(peer, kind, x) / 2**30
        yield [*name, f"left out: the peer needs {need:.0f} GiB", "", "", "", ""], math.nan
        return
    torch.manual_seed(0)
    blocks = [make(peer, kind, shape[3]) for make in (peer_block, our_block)]
    pairs = math.prod(x.shape[2:]) ** 2 * len(x)
    trials = TRIALS if pairs < 2 * 10**8 else 3
    with torch.no_grad():
        forward = interleaved([lambda block=block: block(x) for block in blocks], trials)
    if kind == "concatenation":  # mmcv-lite's has no backward: it divides a ReLU's output in place
        both = [math.nan, math.nan]
    else:
        x.requires_grad_()
        both = interleaved([step(block, x) for block in blocks], trials)
    cell = "peer has no backward"
    if not math.isnan(both[0]):
        cell = f"{1e3 * both[0]:.1f} / {1e3 * both[1]:.1f}"
    peaks = ""
    if memory and kind != "concatenation":
        peaks = " / ".join(
            f"{fresh(memory_of, w, peer, kind, shape, batch):.0f}" for w in (False, True)
        )
    ratio = both[0] / both[1]
    yield (
        [
            *name,
            f"{1e3 * forward[0]:.1f} / {1e3 * forward[1]:.1f}",
            f"{forward[0] / forward[1]:.2f}",
            cell,
            "" if math.isnan(ratio) else f"**{ratio:.2f}**",
            peaks,
        ],
        forward[0] / forward[1] if math.isnan(ratio) else ratio,
    )


def profile(shape: tuple[int, ...]) -> None:
    """Operators by their own time, one embedded-gaussian block."""
    block, x = our_block("mmcv3d", "embedded_gaussian", shape[3]), example("mmcv3d", shape, 1)
    run = step(block, x.requires_grad_())
    run()
    with torch.profiler.profile() as found:
        run()
    print(found.key_averages().table(sort_by="self_cpu_time_total", row_limit=15))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shapes", nargs="+", type=int, default=range(len(SHAPES)))
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 4])
    parser.add_argument("--peers", nargs="+", default=sorted({peer for peer, _ in PAIRS}))
    parser.add_argument("--no-memory", action="store_true")
    parser.add_argument("--profile", action="store_true")
    options = parser.parse_args()
    if options.profile:
        return profile(SHAPES[options.shapes[0]])
    print(f"Matrix products of this machine: {product_rate() / 1e9:.0f} GFLOP/s (2048 x 2048).\n")
    rows, ratios = [], {}
    for index in options.shapes:
        for batch in options.batches:
            for peer, kind in PAIRS:
                if peer not in options.peers:
                    continue
                memory = not options.no_memory
                for row, ratio in rows_of(peer, kind, SHAPES[index], batch, memory):
                    rows.append(row)
                    if not math.isnan(ratio):
                        ratios.setdefault((peer, kind), []).append(ratio)
                    print("#", *row, flush=True)
    head = "T,H,W,C; batch; peer; kind; forward ms, peer / ours; ratio; forward + backward ms"
    print_table((head + "; ratio; extra MiB, peer / ours").split("; "), rows)
    means = [
        [*key, f"{math.exp(sum(map(math.log, found)) / len(found)):.2f}", f"{min(found):.2f}"]
        for key, found in ratios.items()
    ]
    print_table(["peer", "kind", "geometric mean", "least"], means)


if __name__ == "__main__":
    main()
