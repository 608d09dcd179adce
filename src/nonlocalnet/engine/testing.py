"""The test of Sec. 4.1: evenly spread clips, whole frames, the mean of their softmax scores.

Where a video may have several labels (Sec. 5.2) each class has a sigmoid, and the figure is mAP.
Training-time validation, `test`, `predict` and the Python API all score a video with
`scores_of_views`, one view per forward, so the same video gets bit-identical scores from each.

A test decodes the next video while the network is busy with this one, in as many processes as
torchrun starts, and goes on where it was killed (`Partial`).
"""

import platform
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from nonlocalnet.data.clips import ClipConfig, Views, to_input
from nonlocalnet.data.folder import Sample
from nonlocalnet.data.sets import TestItem, TestVideos
from nonlocalnet.engine.partial import Partial, Scored, key_of
from nonlocalnet.engine.processes import everyone, place
from nonlocalnet.engine.protocol import Combine, Protocol, Softmax
from nonlocalnet.engine.results import list_hash, one_label, several_labels
from nonlocalnet.nn.probe import unnoticed


def video_scores(
    model: nn.Module,
    views: Views,
    config: ClipConfig,
    multi_label: bool = False,
    combine: Combine = "mean",
) -> Tensor:
    """Scores (classes,): softmax at each location, averaged over locations, then over views.

    Args:
        model: In eval mode; takes (1, 3, T, H, W), and `dense=True`.
        views: All views of one video.
        config: Normalises the pixels.
        multi_label: A sigmoid for each class instead of the softmax (Sec. 5.2).
        combine: "max" takes the largest score of each class over the views instead of the mean.
    """
    return over_views(scores_of_views(model, views, config, multi_label), combine)


def over_views(scores: Tensor, combine: Combine) -> Tensor:  # (views, classes) -> (classes,)
    """One score for each class from those of the views."""
    return scores.mean(0) if combine == "mean" else scores.amax(0)


def scores_of_views(
    model: nn.Module,
    views: Views,
    config: ClipConfig,
    multi_label: bool = False,
    *,
    softmax: Softmax = "location",
    chunk: int = 1,
) -> Tensor:  # (views, classes)
    """Scores of each view of a video.

    Args:
        model: See `video_scores`.
        views: They are cut from the decoded frames `chunk` at a time.
        config: Normalises the pixels.
        multi_label: Sigmoids instead of the softmax.
        softmax: See `Protocol`.
        chunk: Views per forward pass. More than 1 needs more memory, and gives the same scores up
            to rounding (1e-4) only.
    """
    device = next((part.device for part in model.parameters()), torch.device("cpu"))
    scores = []
    for first in range(0, len(views), chunk):
        clips = [views[view] for view in range(first, min(first + chunk, len(views)))]
        together = np.stack(clips) if len(clips) > 1 else clips[0][None]  # one is not copied again
        seen = torch.from_numpy(together).to(device)
        scores.append(clip_scores(model, seen, config, multi_label, softmax))
    return torch.cat(scores)


@torch.no_grad()
def clip_scores(
    model: nn.Module,
    clips: Tensor,
    config: ClipConfig,
    multi_label: bool = False,
    softmax: Softmax = "location",
) -> Tensor:
    """Scores (B, classes) of clips (B, T, H, W, 3) uint8, fully convolutional (Sec. 4.1)."""
    x = to_input(clips, config)
    logits = (model(x, dense=True) if softmax == "location" else model(x)).float()
    scores = logits.sigmoid() if multi_label else logits.softmax(1)
    return scores.mean((2, 3, 4)) if softmax == "location" else scores


def run_test(
    model: nn.Module,
    labels: Sequence[str],
    samples: Sequence[Sample],
    config: ClipConfig,
    protocol: Protocol,
    *,
    chunk: int = 1,
    workers: int = 1,
    partial: Partial | None = None,
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> dict[str, Any]:
    """Tests every video and returns the content of results.json, the same in every process.

    Where videos may have several labels, `coverage` and `classes` say what mAP is the mean of; no
    video with a label leaves `metrics` empty (a test set whose labels are kept back).

    Args:
        model: The network.
        labels: Class names in the order of the logits.
        samples: Labelled videos; those of a set of several labels have actions and no label.
        config: Clip and preprocessing.
        protocol: Views per video, and how their scores become one.
        chunk: Views per forward pass, see `scores_of_views`.
        workers: Threads that decode ahead, a video each; 0 decodes when the network is done.
        partial: Keeps each video's scores, and knows those of a test that was killed. Remove it
            when the results are written.
        progress: Called with (videos done, videos in all).

    Raises:
        ValueError: Not one of the videos could be read, or `chunk` below 1.
    """
    if chunk < 1:
        raise ValueError(f"chunk must be 1 view per forward pass or more, got {chunk}")
    multi_label = any(sample.label is None for sample in samples)
    rank, world = place()
    known: dict[int, Scored] = {}
    if partial:
        known = partial.begin(key_of(model, samples, labels, config, protocol, chunk))
    left = [index for index in range(len(samples)) if index not in known]
    videos = TestVideos(samples, config, protocol.views, protocol.seed)
    ahead = decode_ahead(videos, left[rank::world], workers)
    found: dict[int, Scored] = {}
    unreadable: dict[int, str] = {}
    with unnoticed(model):
        for done, (index, views, fault) in enumerate(ahead):
            if views is None:
                unreadable[index] = fault
            else:
                each = scores_of_views(
                    model, views, config, multi_label, softmax=protocol.softmax, chunk=chunk
                )
                scores = over_views(each, protocol.combine).cpu()
                found[index] = Scored(scores, _ranks(each, samples[index].label))
                if partial:
                    partial.append(index, found[index])
            del views  # so that two videos are never held at once
            progress(min(len(known) + (done + 1) * world, len(samples)), len(samples))
    found = everyone(known | found)
    faults = list(everyone(unreadable).values())
    if not found:
        raise ValueError(f"none of {len(samples)} videos could be read; first: {faults[0]}")
    judge = several_labels if multi_label else one_label
    figures, judged = judge(list(found.values()), labels, [samples[index] for index in found])
    stamp = protocol.stamp(config)
    return {
        "metrics": {f"{name}@{stamp}": value for name, value in figures.items()},
        "protocol": {
            **protocol.describe(config, multi_label),
            "chunk": chunk,
            "decoder": ", ".join(sorted({sample.video.reader for sample in samples})),
            "torch": torch.__version__,
            "machine": platform.machine(),
            "videos_hash": list_hash(samples, labels),
            "evaluated": len(found),
            "missing": len(faults),
        },
        "labels": list(labels),
        "faults": faults,
        **judged,
    }


def decode_ahead(videos: TestVideos, indices: Sequence[int], workers: int) -> Iterator[TestItem]:
    """The videos of these indices, in order, while threads decode the ones after them.

    Threads, as decoders let go of Python's lock: the frames of a process would have to be copied
    here, and the memory of a forked one is copied page by page as the network writes.
    """
    if not workers:
        yield from (videos[index] for index in indices)
        return
    pool = ThreadPoolExecutor(workers)
    waiting: deque[Future[TestItem]] = deque()
    try:
        for index in indices:
            waiting.append(pool.submit(videos.__getitem__, index))
            if len(waiting) > workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _ranks(scores: Tensor, label: int | None) -> list[int]:
    """Rank of the label by each row of scores, 0 = first; of equals the earlier class is better."""
    if label is None:
        return []
    order = scores.argsort(dim=1, descending=True, stable=True)
    return (order == label).int().argmax(1).tolist()
