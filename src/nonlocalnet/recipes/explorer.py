"""The explorer page of one video: what a network says of it, when, and where it looked."""

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from nonlocalnet.data.clips import clips_around, even_views, to_input
from nonlocalnet.data.video import open_video, read_frames
from nonlocalnet.engine.classifier import Classifier
from nonlocalnet.engine.explain import At, choose_blocks, inside, look, to_px
from nonlocalnet.engine.faithful import DRAWS, faithfulness
from nonlocalnet.engine.rows import Rows, all_rows
from nonlocalnet.engine.testing import over_views, scores_of_views
from nonlocalnet.files import write_atomically
from nonlocalnet.nn.stats import BlockStats, block_stats
from nonlocalnet.ops.pairwise import SOFTMAX
from nonlocalnet.viz.explorer import BlockRows, Explorer, explorer_page

LABELS = 5
SHOWN_SIDE = 256  # px, shorter side of the frames in the page
PAGE, FRAME = 11_000_000, 30_000
"""Bytes of a page and of a JPEG at most, of which base64 makes 4/3: it stays below 15 MB."""


def write_page(
    classifier: Classifier,
    path: str | Path,
    out: str | Path,
    *,
    at: At | None = None,
    block: str | Sequence[str] | None = "all",
    top: int = 20,
    clips: int = 10,
    title: str = "",
    draws: int = DRAWS,
    reader: str | None = None,
) -> Path:
    """Writes the explorer page of a video: one HTML file that needs nothing else, below 15 MB.

    Args:
        classifier: From `load`; its network must have a non-local block.
        path: The video.
        out: The page.
        at: The first position shown, see `explain`; the page plays the clip around it.
        block: The blocks to choose from, see `choose_blocks`.
        top: Arrows at first.
        clips: Even clips of the video that make its scores and the timeline.
        title: Of the page; empty: the name of the file.
        draws: Of `faithfulness`, for the first position shown; 0 leaves it out.
        reader: See `open_video`.

    Returns:
        `out`.

    Raises:
        BadVideo: The file cannot be read.
        ValueError: The position lies outside the video, or the network has no such block.
    """
    model, config = classifier.model, classifier.clip
    hosts = choose_blocks(model, block)
    first = choose_blocks(model)[0]
    if first in hosts:  # the one of Figure 3 is shown first
        hosts = [first, *(host for host in hosts if host != first)]
    video = open_video(path, reader)
    at = inside(video, at)
    seconds = video.seconds
    numbers, _ = clips_around(video, int(np.abs(seconds - at[0]).argmin()), config)
    frames = read_frames(video, numbers, config.test_short_side)
    size = frames.shape[1:3]
    scale = size[0] / video.height, size[1] / video.width
    device = next(model.parameters()).device
    x = to_input(torch.from_numpy(frames)[None].to(device), config)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        stats = block_stats(model, x)
    # A byte for each weight.
    rows = all_rows(model, x, hosts, most=max(PAGE - FRAME * len(frames), FRAME))
    start = (float(np.abs(seconds[numbers] - at[0]).argmin()), *to_px(at, scale, size))
    notes = [str(note.message).capitalize() + "." for note in caught]
    if draws:
        (seen,) = look(model, x, start, block=hosts[0], top=top)
        tried = faithfulness(classifier, frames, seen, draws=draws)
        notes.insert(0, f"From the position shown first, in {hosts[0]}: {tried.describe()}")

    views = even_views(video, config, clips)
    each = scores_of_views(model, views, config, classifier.multi_label)
    scores, order = over_views(each, classifier.combine).sort(descending=True, stable=True)
    best = order[:LABELS].tolist()
    page = explorer_page(
        Explorer(
            title=title or Path(path).name,
            summary=f"{classifier.labels[best[0]]} ({float(scores[0]):.0%} over {clips} clips). "
            f"The clip below: {config.frames} frames from {seconds[numbers[0]]:.2f} to "
            f"{seconds[numbers[-1]]:.2f} s.",
            frames=read_frames(video, numbers, min(SHOWN_SIDE, video.height, video.width)),
            seconds=seconds[numbers].tolist(),
            duration=float(seconds[-1]) + 1 / video.fps,
            input_size=(size[0], size[1]),
            video_size=(video.height, video.width),
            scores=[(classifier.labels[i], float(scores[k])) for k, i in enumerate(best)],
            timeline=[
                (float(seconds[n[0]]), float(seconds[n[-1]]), each[k, best].tolist())
                for k, n in enumerate(views.numbers)
            ],
            blocks=[_block(r, stats[f"{r.block}.nonlocal_block"]) for r in rows],
            start=start,
            top=top,
            notes=notes,
            footer="Made by nonlocalnet explain --page. This file holds everything it shows and "
            "sends nothing anywhere.",
        )
    )
    write_atomically(out, page.encode())
    return Path(out)


def _block(rows: Rows, stats: BlockStats) -> BlockRows:
    grid = [" x ".join(str(len(axis)) for axis in axes) for axes in (rows.queries, rows.keys)]
    facts = [
        ("Kind", rows.kind.replace("_", " ")),
        ("Positions with a row here", f"{grid[0]} (time x height x width)"),
        ("Keys", f"{grid[1]}, {rows.cell[0]:g} x {rows.cell[1]:g} px each"),
        ("What it adds, over its input", f"{stats.branch_ratio:.3f} in norm (0: asleep)"),
        ("Mean largest weight of a row", f"{stats.row_max:.3f} (1: looks at one place only)"),
        (
            "Entropy of a row",
            f"{stats.entropy:.2f} nats (everywhere alike: {stats.uniform_entropy:.2f})",
        ),
        (
            "Mean distance looked at",
            f"{stats.distance:.1f} cells in a frame, {stats.frames:.1f} in time",
        ),
    ]
    if stats.gamma is not None:
        facts.append(("Mean scale of its batch norm", f"{stats.gamma:.3f} (0: as it started)"))
    if rows.step > 1:
        facts.append(
            ("Thinned", f"every {rows.step} cells in height and width have a row in this page")
        )
    return BlockRows(
        name=rows.block,
        queries=rows.queries,
        keys=rows.keys,
        weights=rows.weights,
        cell=rows.cell,
        softmax=rows.kind in SOFTMAX,
        facts=facts,
    )
