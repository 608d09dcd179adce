"""The explorer: one HTML file that plays a clip and shows where each block looks, from any place.

The page holds everything: frames as JPEG, all rows of all blocks packed into a byte per weight,
its style and its script (explorer.html, .css and .js beside this file). It asks for nothing else:
its content policy forbids every request.
"""

import base64
import gzip
import html
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.resources import files

import numpy as np

STEPS_PER_OCTAVE = 10
QUALITY = 85  # of the JPEGs
Axes = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Where the cells of a grid lie: frames, y px and x px of the network's input."""


@dataclass(frozen=True, kw_only=True)
class BlockRows:
    """What one block weighs, from every query cell of the page to every key."""

    name: str
    queries: Axes
    keys: Axes
    weights: np.ndarray = field(repr=False)  # (T, H, W, T', H', W')
    cell: tuple[float, float]
    """Height and width of a key in px of the input."""
    softmax: bool
    """Whether the weights of a row are shares of 1."""
    facts: Sequence[tuple[str, str]] = ()
    """Statistics: name and value in words."""


@dataclass(frozen=True, kw_only=True)
class Explorer:
    """The content of a page."""

    title: str
    summary: str
    frames: np.ndarray = field(repr=False)  # (T, h, w, 3) uint8, as they are shown
    seconds: Sequence[float]
    """When each frame is shown in the video."""
    duration: float
    """Seconds of the whole video."""
    input_size: tuple[int, int]
    """Height and width of the frames that the network saw, px."""
    video_size: tuple[int, int]
    """Height and width of the video, px."""
    scores: Sequence[tuple[str, float]]
    """The best labels of the video, best first."""
    timeline: Sequence[tuple[float, float, Sequence[float]]] = ()
    """First and last second of each clip of a test, and its scores of the labels above."""
    blocks: Sequence[BlockRows]
    start: tuple[float, float, float]
    """The first position shown: frame, y, x."""
    top: int = 20
    notes: Sequence[str] = ()
    footer: str = ""


def explorer_page(content: Explorer) -> str:
    """The page as text; everything in it that came from outside is escaped."""
    size = content.input_size
    data = {
        "summary": content.summary,
        "frames": [_jpeg(frame) for frame in content.frames],
        "seconds": [round(float(t), 4) for t in content.seconds],
        "duration": round(float(content.duration), 4),
        "input": size,
        "video": content.video_size,
        "scores": [[label, round(score, 5)] for label, score in content.scores],
        "timeline": [
            [round(begin, 4), round(end, 4), [round(score, 5) for score in scores]]
            for begin, end, scores in content.timeline
        ],
        "blocks": [_block(block) for block in content.blocks],
        "steps_per_octave": STEPS_PER_OCTAVE,
        "start": content.start,
        "top": content.top,
        "notes": list(content.notes),
        "footer": content.footer,
    }
    parts = {
        "title": html.escape(content.title),
        "style": _resource("explorer.css"),
        "script": _resource("explorer.js"),
        # Inside <script>, only "<" could end it or start a comment.
        "data": json.dumps(data, separators=(",", ":")).replace("<", "\\u003c"),
    }
    pieces = _resource("explorer.html").split("{{")
    page = [pieces[0]]
    for piece in pieces[1:]:
        name, _, rest = piece.partition("}}")
        page += [parts[name], rest]
    return "".join(page)


def pack_rows(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:  # (Q, M) -> same uint8, (Q,)
    """Weights as a byte each, and the largest size in each row.

    A byte is a sign and 127 steps of a logarithm, ten to an octave, down from the row's largest
    size: a weight is kept to 3.6 % of itself, and what is below 1/6400 of the largest becomes 0.

    Example:
        >>> codes, peaks = pack_rows(np.array([[0.5, -0.25, 0.0]], np.float32))
        >>> codes.tolist(), unpack_rows(codes, peaks).tolist()
        ([[127, 245, 0]], [[0.5, -0.25, 0.0]])
    """
    size = np.abs(weights)
    peaks = size.max(1).astype(np.float32)
    with np.errstate(divide="ignore", invalid="ignore"):
        octaves = np.log2(size / peaks[:, None])
    octaves = np.nan_to_num(octaves, nan=-np.inf, neginf=-np.inf)
    steps = np.maximum(127 + np.rint(STEPS_PER_OCTAVE * octaves), 0).astype(np.uint8)
    return np.where((weights < 0) & (steps > 0), steps | 128, steps), peaks


def unpack_rows(codes: np.ndarray, peaks: np.ndarray) -> np.ndarray:  # (Q, M) float32
    """What the page makes of `pack_rows`."""
    steps = (codes & 127).astype(np.float32)
    size = np.where(steps > 0, 2.0 ** ((steps - 127) / STEPS_PER_OCTAVE), 0.0)
    return (np.where(codes & 128, -size, size) * peaks[:, None]).astype(np.float32)


def _block(block: BlockRows) -> dict[str, object]:
    queries, keys = (tuple(len(axis) for axis in grid) for grid in (block.queries, block.keys))
    if block.weights.shape != (*queries, *keys):
        raise ValueError(
            f"{block.name}: weights {block.weights.shape} do not fit its queries {queries} and "
            f"keys {keys}"
        )
    codes, peaks = pack_rows(block.weights.reshape(int(np.prod(queries)), -1))
    return {
        "name": block.name,
        "queries": [[round(float(at), 3) for at in axis] for axis in block.queries],
        "keys": [[round(float(at), 3) for at in axis] for axis in block.keys],
        "cell": block.cell,
        "softmax": block.softmax,
        "facts": [list(fact) for fact in block.facts],
        "rows": _packed(codes),
        "peaks": _packed(peaks.astype("<f4")),
    }


def _packed(array: np.ndarray) -> str:
    return base64.b64encode(gzip.compress(array.tobytes(), 6, mtime=0)).decode("ascii")


def _jpeg(frame: np.ndarray) -> str:
    from PIL import Image  # matplotlib brings it

    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(frame)).save(buffer, "JPEG", quality=QUALITY)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def _resource(name: str) -> str:
    return (files("nonlocalnet.viz") / name).read_text(encoding="utf-8")
