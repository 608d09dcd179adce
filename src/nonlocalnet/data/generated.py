"""Small generated sets, real encoded videos that a tiny network learns within minutes.

All show the shapes of the long-range set (`data.longrange`) on the same dull ground; each is what
one kind of training, or of looking, needs to be tried on.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from nonlocalnet.data.longrange import (
    CLASSES,
    CUT,
    EDGE,
    FPS,
    FRAMES,
    HUES,
    SIZE,
    Scene,
    Thing,
    along,
    render,
    tracks,
    write_scenes,
)
from nonlocalnet.data.writing import write_csv, write_frames

MOTIONS = ("falls", "rises")
SHAPES = {"cross": "blue", "disc": "orange"}
"""The hue of each shape, where the shapes are the labels."""
RINGS = ("gold", "amber")
ANSWERS = ("no", "yes")


def write_two_classes(
    folder: str | Path, *, train: int = 10, test: int = 20, seed: int = 0
) -> None:
    """A cross or a disc, blue or orange, that falls or rises: MOTION/NUMBER.mp4 and videos.csv.

    One class is the other played backwards, so no single frame tells them apart, nor do all of
    them without their order (a C2D); an I3D can. The motions survive mirroring.

    Args:
        folder: Where to; made if need be.
        train: Videos of each class for training.
        test: Videos of each class for testing.
        seed: Another one gives another set.

    Raises:
        MissingLibrary: PyAV is not installed.
        ValueError: A split without videos.
    """
    _check(train=train, test=test)
    classes = len(MOTIONS)
    scenes = [moving(seed, i, MOTIONS[i % classes]) for i in range(classes * (train + test))]
    names = [f"{scene.label}/{i:04d}.mp4" for i, scene in enumerate(scenes)]
    _write(Path(folder), "label", names, scenes, classes * train)


def write_two_labels(folder: str | Path, *, train: int = 40, test: int = 40, seed: int = 0) -> None:
    """A blue cross, an orange disc, both or neither, drifting: NUMBER.mp4 and videos.csv.

    The list has the column `labels`: names with a semicolon between them, or nothing. In turn a
    video shows neither, the cross, the disc, both. The hue alone tells the shape.

    Args:
        folder: Where to; made if need be.
        train: Videos for training.
        test: Videos for testing.
        seed: Another one gives another set.

    Raises:
        MissingLibrary: PyAV is not installed.
        ValueError: A split without videos.
    """
    _write_labels(Path(folder), drifting, train, test, seed)


def write_matches(folder: str | Path, *, train: int = 3072, test: int = 192, seed: int = 0) -> None:
    """A ring, then a cross and a disc, whose labels are the shapes in its hue: see `matching`.

    The long-range set with none, one or two labels a video, in the files of `write_two_labels`.

    Args:
        folder: Where to; made if need be.
        train: Videos for training.
        test: Videos for testing.
        seed: Another one gives another set.

    Raises:
        MissingLibrary: PyAV is not installed.
        ValueError: A split without videos.
    """
    _write_labels(Path(folder), matching, train, test, seed)


def write_pairs(
    folder: str | Path,
    *,
    train: int = 1536,
    test: int = 192,
    seed: int = 0,
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> None:
    """A loud ring, then one dull shape, whose label is what the two come to: see `pair`.

    The long-range set with two things only, and the same files: LABEL/NUMBER.mp4, videos.csv and
    places.csv. A block that relates the two can be told by its arrows.

    Args:
        folder: Where to; made if need be.
        train: Videos for training.
        test: Videos for testing.
        seed: Another one gives another set.
        progress: Called with (videos done, videos in all).

    Raises:
        MissingLibrary: PyAV is not installed.
        ValueError: A split without videos.
    """
    _check(train=train, test=test)
    scenes = [pair(seed, i, ANSWERS[i % len(ANSWERS)]) for i in range(train + test)]
    write_scenes(Path(folder), scenes, train, progress)


def pair(seed: int, index: int, label: str) -> Scene:
    """The scene of one video: yes is a gold ring and a cross, or an amber ring and a disc.

    The label is uniform given the ring alone, and given the shape alone: no C2D can learn it, as in
    `data.longrange`. The rings differ little from each other and much from the shapes, which have
    no hue: so it costs a block more to look for one of the rings than for a ring.

    Example:
        >>> one = pair(seed=0, index=3, label="yes")
        >>> (one.cue.hue, one.partner.shape) in {("gold", "cross"), ("amber", "disc")}
        True
    """
    rng = np.random.default_rng([seed, index])
    ring = int(rng.integers(len(RINGS)))
    shape = CLASSES[(ring + (label == "no")) % len(CLASSES)]
    (cue,), (partner,) = tracks(rng, 1, CUT), tracks(rng, 1, FRAMES - CUT)
    things = (
        along(cue, "ring", RINGS[ring], 0, CUT - 1),
        along(partner, shape, "grey", CUT, FRAMES - 1),
    )
    return Scene(label=label, things=things, noise=int(rng.integers(2**31)))


def moving(seed: int, index: int, label: str) -> Scene:
    """The scene of one video of two classes, a function of its arguments only.

    Example:
        >>> (thing,) = moving(seed=0, index=3, label="rises").things
        >>> thing.speed[0] < 0  # y points down
        True
    """
    rng = np.random.default_rng([seed, index])
    room = SIZE - 1 - 2 * EDGE
    way = rng.uniform(0.6, 1.0) * room
    top = EDGE + rng.uniform(0, room - way)
    across = EDGE + rng.uniform(0, room, 2)  # from side to side as it comes
    ends = [(top, across[0]), (top + way, across[1])]
    start, end = ends if label == "falls" else ends[::-1]
    thing = Thing(
        shape=str(rng.choice(list(SHAPES))),
        hue=str(rng.choice(list(HUES))),
        first=0,
        last=FRAMES - 1,
        start=start,
        speed=((end[0] - start[0]) / (FRAMES - 1), (end[1] - start[1]) / (FRAMES - 1)),
    )
    return Scene(label=label, things=(thing,), noise=int(rng.integers(2**31)))


def drifting(seed: int, index: int, shapes: Sequence[str]) -> Scene:
    """The scene of one video of two labels; its label is their names with a semicolon between.

    Example:
        >>> drifting(seed=0, index=3, shapes=["cross", "disc"]).label
        'cross;disc'
    """
    rng = np.random.default_rng([seed, index])
    ways = tracks(rng, len(shapes), FRAMES) if shapes else []
    things = [
        along(way, shape, SHAPES[shape], 0, FRAMES - 1)
        for shape, way in zip(shapes, ways, strict=True)
    ]
    return Scene(label=";".join(shapes), things=tuple(things), noise=int(rng.integers(2**31)))


def matching(seed: int, index: int, shapes: Sequence[str]) -> Scene:
    """The scene of one video: the ring, the cross and the disc are each blue or orange.

    Each label is uniform given the ring alone, and given the cross and the disc alone: no C2D can
    learn any, as in `data.longrange`.

    Example:
        >>> ring, cross, disc = matching(seed=0, index=3, shapes=["disc"]).things
        >>> cross.hue == ring.hue, disc.hue == ring.hue
        (False, True)
    """
    rng = np.random.default_rng([seed, index])
    own, other = (str(hue) for hue in rng.permutation(list(HUES)))
    (cue,), ways = tracks(rng, 1, CUT), tracks(rng, len(CLASSES), FRAMES - CUT)
    things = [along(cue, "ring", own, 0, CUT - 1)]
    for shape, way in zip(CLASSES, ways, strict=True):
        hue = own if shape in shapes else other
        things.append(along(way, shape, hue, CUT, FRAMES - 1))
    return Scene(label=";".join(shapes), things=tuple(things), noise=int(rng.integers(2**31)))


def _write_labels(
    folder: Path,
    scene: Callable[[int, int, Sequence[str]], Scene],
    train: int,
    test: int,
    seed: int,
) -> None:
    """NUMBER.mp4 and videos.csv: in turn a video has neither label, the first, the second, both."""
    _check(train=train, test=test)
    shown = [[s for bit, s in enumerate(CLASSES) if i >> bit & 1] for i in range(train + test)]
    scenes = [scene(seed, i, shapes) for i, shapes in enumerate(shown)]
    _write(folder, "labels", [f"{i:04d}.mp4" for i in range(len(scenes))], scenes, train)


def _write(
    folder: Path, column: str, names: Sequence[str], scenes: Sequence[Scene], train: int
) -> None:
    """The videos and their videos.csv; the first `train` of them are for training."""
    rows = []
    for index, (name, scene) in enumerate(zip(names, scenes, strict=True)):
        write_frames(folder / name, render(scene), FPS)
        rows.append((name, scene.label, "train" if index < train else "test"))
    write_csv(folder / "videos.csv", ["path", column, "split"], rows)


def _check(**splits: int) -> None:
    for name, count in splits.items():
        if count < 1:
            raise ValueError(f"{name} must be 1 video or more, got {count}")
