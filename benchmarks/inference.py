"""Inference: the optimized form against plain eager PyTorch, and peers, in one run each.

    python benchmarks/inference.py c2d_r50 nl5_i3d_r50              # one 32 x 224 x 224 clip each
    python benchmarks/inference.py c2d_r50 --frames 8 16 64 128     # cost as the clip gets longer
    python benchmarks/inference.py c2d_r50 --sizes 112 160 256 320
    python benchmarks/inference.py nl5_i3d_r50 --frames 8 16 32 64 --only-memory
    python benchmarks/inference.py c2d_r50 --peer pytorchvideo      # equal shape, equal logits
    python benchmarks/inference.py nl5_c2d_r50 --peer mmcv-lite     # its block in our trunk
    python benchmarks/inference.py nl5_c2d_r50 --peer onnxruntime   # the exported graph
    python benchmarks/inference.py nl5_c2d_r50 --base c2d_r50       # what five blocks cost
    python benchmarks/inference.py r3d_18 mc3_18                    # torchvision's, for context
    python benchmarks/inference.py --table

Seconds are medians of interleaved calls. "plain" is the same network as anyone would run it: eager,
contiguous, eval mode, no gradients. "rate" is 2 x multiply-adds / seconds, as a share of what one
large matrix product reaches before and after; the N x M products are counted as the paper does.
Rows are appended to a file, so that a table can be made of short runs.
"""

import argparse
import warnings

import torch
from op import extra_memory, fresh, interleaved, product_rate
from rows import keep, plot, table
from torch import nn

import nonlocalnet as nln
from nonlocalnet.engine.onnx_runtime import OnnxNetwork
from nonlocalnet.models.costs import count
from nonlocalnet.weights.fit import TABLES
from nonlocalnet.weights.onnx_file import to_onnx

PEERS = ("", "pytorchvideo", "mmcv-lite", "onnxruntime")
FORMS = ("plain s", "optimized s")


def network(name: str, preset: str = "paper") -> nn.Module:
    torch.manual_seed(0)
    model = nln.build(name, preset=preset).eval()
    for part in model.modules():  # no branch is zero, as after training
        if isinstance(part, nn.BatchNorm3d) and not part.weight.any():
            nn.init.constant_(part.weight, 0.2)
    return model


def peer_of(peer: str, name: str, model: nn.Module, frames: int, size: int) -> nn.Module:
    """The peer's network with the same weights as ours, or with weights of its own."""
    if peer == "onnxruntime":
        return OnnxNetwork(to_onnx(model, {}))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from mmcv.cnn.bricks.non_local import NonLocal3d
        from pytorchvideo.models.hub.resnet import create_resnet
    if peer == "mmcv-lite":
        theirs = network(name)
        for block in nln.nonlocal_blocks(theirs):
            host, _, child = block.rpartition(".")
            channels = theirs.get_submodule(block).channels
            setattr(theirs.get_submodule(host), child, NonLocal3d(channels, sub_sample=True))
        return theirs.eval()
    inflated = [(3, 1, 1), (1, 1, 1)]
    i3d = ((3, 1, 1), inflated, inflated, inflated[::-1])
    theirs = create_resnet(
        model_num_class=400,
        stem_conv_kernel_size=(5 if name.startswith("i3d") else 1, 7, 7),
        stage_conv_a_kernel_size=i3d if name.startswith("i3d") else ((1, 1, 1),) * 4,
        stage1_pool=nn.MaxPool3d,
        head_pool_kernel_size=(frames // 2, size // 32, size // 32),
        head_activation=None,
    ).eval()
    names = {TABLES["pytorchvideo"].ours(key): key for key in theirs.state_dict()}
    state = {names[key]: value for key, value in model.state_dict().items()}
    theirs.load_state_dict(state)
    return theirs


def memory_of(optimized: bool, name: str, frames: int, size: int) -> float:
    """MiB that one forward pass adds, the weights not counted."""
    model = nln.optimize(network(name)) if optimized else network(name)
    with torch.no_grad():
        model(torch.zeros(1, 3, 1, 64, 64))
        x = torch.randn(1, 3, frames, size, size)
        return extra_memory(lambda: model(x))


def measure(
    name: str,
    frames: int,
    size: int,
    *,
    preset: str,
    peer: str,
    base: str,
    memory: bool,
    trials: int,
) -> dict:
    x = torch.randn(1, 3, frames, size, size)
    if name in ("r3d_18", "mc3_18"):
        import torchvision

        model = getattr(torchvision.models.video, name)().eval()
        (seconds,) = interleaved([lambda: model(x)], trials)
        return {"network": name, "frames": frames, "px": size, "plain s": round(seconds, 3)}
    preset = "pytorchvideo" if peer == "pytorchvideo" else preset
    model = network(name, preset)
    fast = nln.optimize(model)
    calls = [lambda: model(x), lambda: fast(x)]
    if peer:
        theirs = peer_of(peer, name, model, frames, size)
        calls.append(lambda: theirs(x))
    if base:
        without = network(base, preset)
        fast_without = nln.optimize(without)
        calls.append(lambda: fast_without(x))
    before = product_rate()
    seconds = interleaved(calls, trials)
    rate = max(before, product_rate())
    flops = 2 * count(model, (frames, size, size)).multiply_adds
    row = {
        "network": name,
        "preset": preset,
        "frames": frames,
        "px": size,
        "GFLOP": round(flops / 1e9, 1),
        "plain s": round(seconds[0], 3),
        "optimized s": round(seconds[1], 3),
        "plain / optimized": round(seconds[0] / seconds[1], 2),
        "rate": f"{flops / seconds[1] / rate:.0%} of {rate / 1e9:.0f} GFLOP/s",
        "largest difference": f"{(model(x) - fast(x)).abs().max().item():.0e}",
    }
    if peer:
        row |= {"peer": peer, "peer s": round(seconds[2], 3)}
        row |= {"peer / optimized": round(seconds[2] / seconds[1], 2)}
    if peer in ("pytorchvideo", "onnxruntime"):
        row["peer's difference"] = f"{(theirs(x) - fast(x)).abs().max().item():.0e}"
    if base:
        least = 2 * count(without, (frames, size, size)).multiply_adds
        row |= {"base": base, "base s": round(seconds[-1], 3)}
        row |= {"times base": round(seconds[1] / seconds[-1], 2)}
        row |= {"multiply-adds, times base": round(flops / least, 2)}
    if memory:
        row |= memory_row(name, frames, size)
    return row


def memory_row(name: str, frames: int, size: int) -> dict:
    sizes = [fresh(memory_of, form, name, frames, size) for form in (False, True)]
    return {"MiB, plain / optimized": " / ".join(f"{one:.0f}" for one in sizes)}


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("networks", nargs="*")
    parser.add_argument("--frames", nargs="+", type=int, default=[32])
    parser.add_argument("--sizes", nargs="+", type=int, default=[224])
    parser.add_argument("--peer", default="", choices=PEERS)
    parser.add_argument("--base", default="", help="its optimized form in the same run")
    parser.add_argument("--preset", default="paper")
    parser.add_argument("--trials", type=int, default=5)
    parser.add_argument("--memory", action="store_true", help="of both forms, too")
    parser.add_argument("--only-memory", action="store_true", help="and no times")
    parser.add_argument("--keep", default="inference.jsonl", help="rows are appended to it")
    parser.add_argument("--table", action="store_true", help="print the rows, and draw them")
    options = parser.parse_args()
    for name in options.networks:
        for frames in options.frames:
            for size in options.sizes:
                if options.only_memory:
                    row = {"network": name, "frames": frames, "px": size}
                    keep(options.keep, row | memory_row(name, frames, size))
                    continue
                row = measure(
                    name,
                    frames,
                    size,
                    preset=options.preset,
                    peer=options.peer,
                    base=options.base,
                    memory=options.memory,
                    trials=options.trials,
                )
                keep(options.keep, row)
    if options.table:
        table(options.keep)
        plot(options.keep, "inference.png", "frames", FORMS, px=224, peer=None)


if __name__ == "__main__":
    main()
