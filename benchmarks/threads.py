"""Training beside a reader: a thread for each core against OMP_NUM_THREADS=1, in one run.

    python benchmarks/threads.py DIR                     # nl1_i3d_tiny on a labelled folder
    python benchmarks/threads.py DIR --network i3d_r50 --width 8

A stretch is STEPS steps of 16 clips of 16 x 64 px that one worker decodes meanwhile: forward,
cross-entropy, backward and AdamW, as `nonlocalnet train DIR` does them. Seconds are medians of
interleaved stretches, each form in a process of its own; while one works, the other's worker has
read two batches ahead and waits.
"""

import argparse
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import torch
from op import interleaved
from rows import keep, table
from torch.nn import functional as F
from torch.utils.data import DataLoader
from train_step import elsewhere

import nonlocalnet as nln
from nonlocalnet.data.clips import ClipConfig, to_input
from nonlocalnet.data.folder import read_folder
from nonlocalnet.data.sets import TrainClips
from nonlocalnet.engine.sampler import StepBatches

BATCH, STEPS, TRIALS = 16, 10, 5


def stretches(threads: int, folder: str, network: str, width: int | None) -> Iterator[None]:
    """Trains; after every STEPS steps it stands still."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    data = read_folder(Path(folder))
    clip = ClipConfig(frames=16, stride=3, crop=64, short_side=(64, 76))
    clips = TrainClips(data.splits["train"], clip, seed=0)
    steps = STEPS * (TRIALS + 1)
    batches = StepBatches(size=len(clips), batch=BATCH, steps=steps, seed=0)
    model = nln.build(network, num_classes=len(data.labels), width=width).train()
    model = model.to(memory_format=torch.channels_last_3d)
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
    for step, item in enumerate(DataLoader(clips, batch_sampler=batches, num_workers=1), 1):
        optimiser.zero_grad()
        F.cross_entropy(model(to_input(item.clip, clip)), item.label).backward()
        optimiser.step()
        if step % STEPS == 0:
            yield


def stretch_of(*settled) -> Callable[[], object]:
    return partial(next, stretches(*settled))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", metavar="DIR")
    parser.add_argument("--network", default="nl1_i3d_tiny")
    parser.add_argument("--width", type=int)
    parser.add_argument("--keep", default="threads.jsonl", help="the row is appended to it")
    options = parser.parse_args()
    every = torch.get_num_threads()
    settled = (options.folder, options.network, options.width)
    forms = [elsewhere("ours", stretch_of, n, *settled, daemon=False) for n in (every, 1)]
    seconds = interleaved(forms, TRIALS)
    forms.clear()  # ends their processes
    row = {"network": options.network, "width": options.width or ""}
    row |= {f"{every} threads, s": round(seconds[0] / STEPS, 3)}
    row |= {"1 thread, s": round(seconds[1] / STEPS, 3)}
    keep(options.keep, row | {"ratio": round(seconds[0] / seconds[1], 2)})
    table(options.keep)


if __name__ == "__main__":
    main()
