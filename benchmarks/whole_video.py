"""The test of whole videos (10 clips, whole frames) against the network alone, in one run.

    python benchmarks/whole_video.py c2d_r50 --videos 3
    python benchmarks/whole_video.py nl5_c2d_r50 --videos 2 --clips 4     # shorter
    python benchmarks/whole_video.py --table

The videos are generated: 300 frames of 340x256 px, H.264. "test" is `run_test` from files to
scores, its start included, one worker decoding the next video meanwhile; "network" is the optimized
form on random clips of the same size, as many as the test has. They take turns, video by video:
this machine's speed changes within a minute. The frames that clips share are decoded once.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the command does; read by torch

import torch
from decode import generated_set
from op import product_rate
from rows import keep, plot, table

import nonlocalnet as nln
from nonlocalnet.data.clips import ClipConfig, video_views
from nonlocalnet.data.folder import Sample
from nonlocalnet.data.video import open_video
from nonlocalnet.engine.protocol import Protocol
from nonlocalnet.engine.testing import run_test


def measure(name: str, videos: int, clips: int, folder: Path) -> dict:
    torch.manual_seed(0)
    config = ClipConfig()
    model = nln.optimize(nln.build(name, 2).eval())
    samples = [
        Sample(video=open_video(path), label=0) for path in generated_set(folder, count=videos)
    ]
    start = time.perf_counter()
    views = video_views(samples[0].video, config, (clips, 1))
    decoding = time.perf_counter() - start
    shown = views.clips.size
    height, width = views.frames.shape[1:3]
    x = torch.randn(1, 3, config.frames, height, width)
    x = x.contiguous(memory_format=torch.channels_last_3d)
    rate = product_rate()

    seconds: list[float] = []

    def network(*_: int) -> None:
        start = time.perf_counter()
        with torch.no_grad():
            for _ in range(clips):
                model(x, dense=True)
        seconds.append(time.perf_counter() - start)

    network()  # lays out the weights
    seconds.clear()
    start = time.perf_counter()
    run_test(
        model,
        ["a", "b"],
        samples,
        config,
        Protocol.parse(f"{clips}x1"),
        workers=1,
        progress=network,
    )
    alone = sum(seconds)
    test = time.perf_counter() - start - alone
    return {
        "network": name,
        "videos": videos,
        "clips": clips,
        "px": f"{width}x{height}",
        "network s": round(alone, 2),
        "test s": round(test, 2),
        "test / network": round(test / alone, 2),
        "decoding s, one video": round(decoding, 2),
        "frames decoded / shown": f"{len(views.frames)} / {shown}",
        "products": f"{rate / 1e9:.0f} GFLOP/s",
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("networks", nargs="*")
    parser.add_argument("--videos", type=int, default=3)
    parser.add_argument("--clips", type=int, default=10)
    parser.add_argument("--keep", default="whole_video.jsonl", help="rows are appended to it")
    parser.add_argument("--table", action="store_true", help="print the rows, and draw them")
    options = parser.parse_args()
    for name in options.networks:
        with tempfile.TemporaryDirectory() as folder:
            row = measure(name, options.videos, options.clips, Path(folder))
        keep(options.keep, row)
    if options.table:
        table(options.keep)
        plot(options.keep, "whole_video.png", "clips", ["network s", "test s"])


if __name__ == "__main__":
    main()
