"""The generated long-range set: real encoded videos whose label needs two places far apart.

A ring, the cue, drifts over the first frames. Then it is gone, and a cross and a disc drift over
the last frames, one blue and one orange. One of them has the ring's hue: its shape is the label.
The two things to compare lie at random places, seconds apart, and never share a frame.

Why no C2D can do it. A C2D of the small size (no temporal stride or pooling) joins frames only by
the average before its classifier, so its score of class c is a sum over frames: A_c(cue frame) +
B_c(frame of shapes), whatever its depth and width. The label is uniform given the cue's frames
alone, and uniform given the others alone. Hence at the uniform prediction the gradient of the
expected cross-entropy with respect to every A_c and B_c is zero; the cross-entropy is convex in
them; so the uniform prediction is the best that such a network can learn. What it gains on its
training videos beyond that is memory. One block that relates all positions of all frames, in a
network otherwise the same, can carry the ring's hue to the shape that matches it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nonlocalnet.data.writing import write_csv, write_frames

SIZE = 64  # px, height and width
FPS = 10
FRAMES = 33  # 4 kept frames at stride 6 span 24: the starts are 0..9, one for each test clip
CUT = 12  # frames before it show the cue, the others the shapes: each of those clips sees both
CLASSES = ("cross", "disc")
HUES = {"blue": (70, 110, 245), "orange": (240, 150, 40)}
PAINTS = HUES | {"gold": (250, 205, 60), "amber": (250, 165, 60), "grey": (140, 140, 140)}

GROUND = 65  # grey level, of 255
RADIUS = 8.0  # px, about half of a thing's width
EDGE = 1.35 * RADIUS  # px, smallest distance of a centre from the border
APART = 21.0  # px, smallest distance between the centres of two shapes
DRIFT = 0.35  # px per frame, largest speed along each axis


@dataclass(frozen=True, kw_only=True)
class Thing:
    """One drifting object."""

    shape: str
    hue: str
    first: int
    """First frame that shows it."""
    last: int
    """Last frame that shows it."""
    start: tuple[float, float]
    """Centre (y, x) in px in its first frame."""
    speed: tuple[float, float]
    """px per frame."""

    def centre(self, frame: int) -> tuple[float, float]:
        """Where it is, (y, x) in px; the centre of the top left pixel is (0, 0)."""
        age = frame - self.first
        return self.start[0] + age * self.speed[0], self.start[1] + age * self.speed[1]


@dataclass(frozen=True, kw_only=True)
class Scene:
    """What one video shows; `things` are the cue and then the shapes."""

    label: str
    things: tuple[Thing, ...]
    noise: int
    """Seed of the background."""

    @property
    def cue(self) -> Thing:
        """The ring."""
        return self.things[0]

    @property
    def partner(self) -> Thing:
        """The shape in the ring's hue; the only one, where there is one."""
        shapes = self.things[1:]
        return next((thing for thing in shapes if thing.hue == self.cue.hue), shapes[0])


def scene(seed: int, index: int, label: str) -> Scene:
    """The scene of one video, a function of its arguments only.

    Example:
        >>> one = scene(seed=0, index=3, label="disc")
        >>> one.partner.shape, one.partner.hue == one.cue.hue
        ('disc', True)
    """
    rng = np.random.default_rng([seed, index, CLASSES.index(label)])
    hues = [str(hue) for hue in rng.permutation(list(HUES))]
    cue_hue = hues[CLASSES.index(label)]
    cue = along(tracks(rng, 1, CUT)[0], "ring", cue_hue, 0, CUT - 1)
    paths = tracks(rng, len(CLASSES), FRAMES - CUT)
    shapes = [
        along(path, shape, hue, CUT, FRAMES - 1)
        for shape, hue, path in zip(CLASSES, hues, paths, strict=True)
    ]
    return Scene(label=label, things=(cue, *shapes), noise=int(rng.integers(2**31)))


def render(scene: Scene, frames: Sequence[int] = range(FRAMES)) -> np.ndarray:
    """The frames asked for, (len(frames), SIZE, SIZE, 3) uint8 RGB."""
    rng = np.random.default_rng(scene.noise)
    # One dull ground for all videos. Where its brightness differed between them, that was most of
    # what a block saw at first: its batch norm scales up whatever differs. It learned far later.
    ground = GROUND + rng.uniform(-3, 3, 3)
    grain = rng.normal(0, 6, (FRAMES, SIZE // 2, SIZE // 2)).astype(np.float32)
    grain = grain[list(frames)].repeat(2, 1).repeat(2, 2)
    pictures = (ground + grain[..., None]).clip(0, 255)
    for picture, frame in zip(pictures, frames, strict=True):
        for thing in scene.things:
            if thing.first <= frame <= thing.last:
                _paint(picture, thing, thing.centre(frame))
    return pictures.round().astype(np.uint8)


def _paint(picture: np.ndarray, thing: Thing, centre: tuple[float, float]) -> None:
    reach = 2 * RADIUS
    rows, columns = (
        slice(max(int(at - reach), 0), min(int(at + reach) + 1, SIZE)) for at in centre
    )
    y, x = np.ogrid[rows, columns]
    distance = _distance(thing.shape, y - centre[0], x - centre[1])
    inside = np.clip(0.5 - distance, 0, 1)[..., None]
    picture[rows, columns] += inside * (np.array(PAINTS[thing.hue]) - picture[rows, columns])


def write_longrange(
    folder: str | Path,
    *,
    train: int = 1024,
    test: int = 256,
    seed: int = 0,
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> None:
    """Writes the set: LABEL/NUMBER.mp4, videos.csv (path, label, split) and places.csv.

    places.csv has two rows for each video, the cue and its partner: shape, hue, the first and the
    last frame that show it, and its centre there (y, x in px; it moves in a straight line).

    Args:
        folder: Where to; made if need be.
        train: Videos for training, divided evenly among the classes.
        test: Videos for testing.
        seed: Another one gives another set.
        progress: Called with (videos done, videos in all).

    Raises:
        MissingLibrary: PyAV is not installed.
        ValueError: A split that the classes cannot share evenly.
    """
    folder = Path(folder)
    for name, count in (("train", train), ("test", test)):
        if count < 1 or count % len(CLASSES):
            raise ValueError(f"{name} must be a multiple of {len(CLASSES)} videos, got {count}")
    scenes = [scene(seed, i, CLASSES[i % len(CLASSES)]) for i in range(train + test)]
    write_scenes(folder, scenes, train, progress)


def write_scenes(
    folder: Path, scenes: Sequence[Scene], train: int, progress: Callable[[int, int], None]
) -> None:
    """Videos, videos.csv and places.csv of a cue and a partner; the first `train` to train on."""
    listed, places = [], []
    for index, one in enumerate(scenes):
        name = f"{one.label}/{index:05d}.mp4"
        write_frames(folder / name, render(one), FPS)
        listed.append((name, one.label, "train" if index < train else "test"))
        for role, thing in (("cue", one.cue), ("partner", one.partner)):
            ends = (round(v, 2) for at in (thing.first, thing.last) for v in thing.centre(at))
            places.append((name, role, thing.shape, thing.hue, thing.first, thing.last, *ends))
        progress(index + 1, len(scenes))
    columns = "path,role,shape,hue,first,last,first_y,first_x,last_y,last_x"
    write_csv(folder / "places.csv", columns.split(","), places)
    write_csv(folder / "videos.csv", ["path", "label", "split"], listed)


def _distance(shape: str, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Px to the outline of a shape around the origin, negative inside (a bound is enough)."""
    if shape == "disc":
        return np.hypot(y, x) - 1.12 * RADIUS
    if shape == "ring":
        return np.abs(np.hypot(y, x) - 0.95 * RADIUS) - 0.4 * RADIUS
    long, wide = 1.3 * RADIUS, 0.5 * RADIUS  # a cross
    return np.minimum(
        np.maximum(abs(y) - long, abs(x) - wide), np.maximum(abs(x) - long, abs(y) - wide)
    )


def tracks(rng: np.random.Generator, count: int, frames: int) -> list[tuple]:
    """(start, speed) of `count` objects that stay inside the frame and apart."""
    age = np.arange(frames)[:, None, None]

    def fits(track: np.ndarray) -> bool:  # (frames, count, 2)
        gaps = np.hypot(*np.moveaxis(track[:, :, None] - track[:, None], -1, 0))
        gaps[:, range(count), range(count)] = np.inf
        inside = track.min() >= EDGE and track.max() <= SIZE - 1 - EDGE
        return bool(inside and gaps.min() >= APART)

    while True:
        start = rng.uniform(EDGE, SIZE - 1 - EDGE, (count, 2))
        if not fits(start[None]):
            continue
        for _ in range(20):
            speed = rng.uniform(-DRIFT, DRIFT, (count, 2))
            if fits(start + age * speed):
                return list(zip(start.tolist(), speed.tolist(), strict=True))


def along(track: tuple, shape: str, hue: str, first: int, last: int) -> Thing:
    """A thing that drifts on one of `tracks`."""
    start, speed = (tuple(place) for place in track)
    return Thing(shape=shape, hue=hue, first=first, last=last, start=start, speed=speed)
