"""Tests one video and prints the most memory that the process had, in MiB: VIDEO VIEWS CHUNK."""

import re
import sys
from pathlib import Path

import torch

import nonlocalnet as nln
from nonlocalnet.data.clips import ClipConfig
from nonlocalnet.data.folder import Sample
from nonlocalnet.data.video import open_video
from nonlocalnet.engine.protocol import Protocol
from nonlocalnet.engine.testing import run_test

CLIP = ClipConfig(frames=16, stride=2, test_short_side=160)

if __name__ == "__main__":
    path, views, chunk = sys.argv[1:]
    torch.manual_seed(0)
    model = nln.build("i3d_tiny", 2).eval()
    samples = [Sample(video=open_video(path), label=1)]
    run_test(model, ["a", "b"], samples, CLIP, Protocol.parse(views), chunk=int(chunk))
    # Not getrusage: its peak starts from that of the process that started this one.
    print(int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1]) / 1024)
