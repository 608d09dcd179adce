"""The most memory that a test of one video takes, by views and by views per forward pass.

    python benchmarks/views_memory.py                          # C2D-R50 on a generated clip
    python benchmarks/views_memory.py --video clip.mp4 --model nl5_i3d_r50 --frames 32

Each row is a fresh process that decodes the video and scores it as `nonlocalnet test` does. The
law: with one view per pass, thirty views need at most 1.2 times what one needs, since the frames
are decoded once and each view is cut when its turn comes.
"""

import argparse
import tempfile
from pathlib import Path

import torch
from decode import generated_set
from op import fresh, print_table, status

import nonlocalnet as nln
from nonlocalnet.data.clips import ClipConfig
from nonlocalnet.data.folder import Sample
from nonlocalnet.data.video import open_video
from nonlocalnet.engine.protocol import Protocol
from nonlocalnet.engine.testing import run_test


def most(model: str, frames: int, video: str, views: str, chunk: int) -> float:
    """MiB that this process had at most; call it in a fresh one."""
    torch.manual_seed(0)
    network = nln.build(model, 400).eval()
    samples = [Sample(video=open_video(video), label=1)]
    labels = [str(k) for k in range(400)]
    clip = ClipConfig(frames=frames, stride=2)
    run_test(network, labels, samples, clip, Protocol.parse(views), chunk=chunk)
    return status("VmHWM") / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--video", help="default: ten generated seconds of 340 x 256 px")
    parser.add_argument("--model", default="c2d_r50")
    parser.add_argument("--frames", type=int, default=8)
    parser.add_argument("--chunks", type=int, nargs="+", default=[1, 5])
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        video = options.video or str(generated_set(Path(folder), 1)[0])
        one = fresh(most, options.model, options.frames, video, "1x1", 1)
        rows = [["1x1", "1", f"{one:.0f}", "1.00"]]
        for views, chunk in [("10x1", 1), *(("10x3", chunk) for chunk in options.chunks)]:
            found = fresh(most, options.model, options.frames, video, views, chunk)
            rows.append([views, str(chunk), f"{found:.0f}", f"{found / one:.2f}"])
    print(f"{options.model}, {options.frames} frames, shorter side 256 px")
    print_table(["views", "views per pass", "most memory, MiB", "to one view"], rows)


if __name__ == "__main__":
    main()
