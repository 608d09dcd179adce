"""A generated COCO set for CPUs: shapes and people of 128 px images, with masks and keypoints.

Context matters twice. A disc is called `twin` when another disc stands beside it, and `disc` when
it is alone; what is inside its box does not tell. Which hand of a person is the left one is told by
the face alone: who shows a face looks at us, and their left is on our right. Later objects hide
parts of earlier ones.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nonlocalnet.data.coco import as_run_lengths
from nonlocalnet.data.optional import require

SIZE = 128
CATEGORIES = ("person", "square", "triangle", "disc", "twin")
KEYPOINTS = ("head", "left_hand", "right_hand", "left_foot", "right_foot")
SKELETON = ((1, 2), (1, 3), (1, 4), (1, 5))
SIGMA = 0.1
LEAST = 0.5  # of an object must stay visible
GAP = 8  # px between twins at most

_Y, _X = np.mgrid[:SIZE, :SIZE].astype(np.float32)
_PERSON = {
    "id": 1,
    "name": "person",
    "keypoints": list(KEYPOINTS),
    "skeleton": [list(bone) for bone in SKELETON],
    "sigmas": [SIGMA] * len(KEYPOINTS),
}


def write_shapes(root: str | Path, train: int = 400, val: int = 100, seed: int = 0) -> Path:
    """Writes the set in COCO's layout: splits train2017 and val2017, both kinds of annotations.

    Args:
        root: The folder, made when absent.
        train: Images to train on.
        val: Images to test on.
        seed: Of everything drawn; an image is a function of (seed, split, number).

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     root = write_shapes(folder, train=2, val=1)
        ...     sorted(path.name for path in (root / "annotations").iterdir())[:2]
        ['instances_train2017.json', 'instances_val2017.json']
    """
    pillow = require("PIL.Image", "writing images", "detection")
    root = Path(root)
    (root / "annotations").mkdir(parents=True, exist_ok=True)
    for which, (split, count) in enumerate({"train2017": train, "val2017": val}.items()):
        (root / split).mkdir(exist_ok=True)
        images, objects = [], []
        for number in range(count):
            picture, found = draw(np.random.default_rng((seed, which, number)))
            name = f"{number:06}.png"
            pillow.fromarray(picture).save(root / split / name)
            images.append({"id": number, "file_name": name, "height": SIZE, "width": SIZE})
            objects += [{**entry, "image_id": number} for entry in found]
        for i, entry in enumerate(objects):
            entry["id"] = i + 1
        plain = [{"id": i + 1, "name": name} for i, name in enumerate(CATEGORIES)]
        people = [entry for entry in objects if entry["category_id"] == 1]
        for file, categories, entries in (
            ("instances", plain, objects),
            ("person_keypoints", [_PERSON], people),
        ):
            content = {"images": images, "annotations": entries, "categories": categories}
            path = root / "annotations" / f"{file}_{split}.json"
            path.write_text(json.dumps(content), encoding="utf-8")
    return root


def draw(rng: np.random.Generator) -> tuple[np.ndarray, list[dict[str, Any]]]:
    """One image (SIZE, SIZE, 3) uint8 and its annotations, without ids."""
    while True:
        kinds = ["person"] * int(rng.integers(1, 3))
        kinds += ([], ["disc"], ["twin", "twin"])[int(rng.integers(0, 3))]
        kinds += [str(rng.choice(("square", "triangle"))) for _ in range(int(rng.integers(1, 3)))]
        rng.shuffle(kinds)
        picture = _background(rng)
        drawn, twin = [], None
        for kind in kinds:
            drawn.append(
                _disc(rng, picture, twin) if kind == "twin" else _PAINTERS[kind](rng, picture)
            )
            twin = drawn[-1][0] if kind == "twin" else twin
        masks = [mask for mask, _ in drawn]
        visible = [
            mask & ~np.any(masks[i + 1 :] or [np.zeros_like(mask)], axis=0)
            for i, mask in enumerate(masks)
        ]
        if all(v.sum() >= LEAST * m.sum() for v, m in zip(visible, masks, strict=True)):
            break
    return picture, [
        _annotation(kind, shown, points)
        for kind, shown, (_, points) in zip(kinds, visible, drawn, strict=True)
    ]


def _annotation(name: str, shown: np.ndarray, points: Sequence[Sequence[float]]) -> dict[str, Any]:
    rows, columns = np.flatnonzero(shown.any(1)), np.flatnonzero(shown.any(0))
    box = [columns[0], rows[0], columns[-1] + 1 - columns[0], rows[-1] + 1 - rows[0]]
    entry = {
        "category_id": CATEGORIES.index(name) + 1,
        "bbox": [int(value) for value in box],
        "area": int(shown.sum()),
        "iscrowd": 0,
        "segmentation": as_run_lengths(shown),
    }
    if points:
        flat: list[float] = []
        for place in points:
            x, y = (round(float(value), 2) for value in place)
            if not (0 <= x <= SIZE - 1 and 0 <= y <= SIZE - 1):
                flat += [0, 0, 0]
            else:
                seen = shown[round(y), round(x)]
                flat += [x, y, 2 if seen else 1]
        entry["keypoints"] = flat
        entry["num_keypoints"] = sum(v > 0 for v in flat[2::3])
    return entry


def _background(rng: np.random.Generator) -> np.ndarray:
    slope = rng.uniform(-0.3, 0.3, (2, 3))
    shade = rng.uniform(70, 150, 3) + _X[..., None] * slope[0] + _Y[..., None] * slope[1]
    return np.clip(shade + rng.normal(0, 12, (SIZE, SIZE, 3)), 0, 255).astype(np.uint8)


def _fill(rng: np.random.Generator, picture: np.ndarray, mask: np.ndarray, colour: Any) -> None:
    noisy = np.asarray(colour) + rng.normal(0, 8, (int(mask.sum()), 3))
    picture[mask] = np.clip(noisy, 0, 255).astype(np.uint8)


def _colour(rng: np.random.Generator) -> np.ndarray:
    """Bright, and never the grey of the ground."""
    return rng.permutation([rng.uniform(200, 255), rng.uniform(0, 70), rng.uniform(0, 255)])


def _place(rng: np.random.Generator, radius: float) -> np.ndarray:
    return rng.uniform(radius, SIZE - 1 - radius, 2)


def _beside(rng: np.random.Generator, radius: float, other: np.ndarray) -> np.ndarray:
    """A place next to the disc of a mask, inside the image."""
    middle, size = np.array([_X[other].mean(), _Y[other].mean()]), np.sqrt(other.sum() / np.pi)
    while True:
        angle = rng.uniform(0, 2 * np.pi)
        away = size + radius + rng.uniform(1, GAP)
        place = middle + away * np.array([np.cos(angle), np.sin(angle)])
        if place.min() >= radius and place.max() <= SIZE - 1 - radius:
            return place


def _disc(rng: np.random.Generator, picture: np.ndarray, twin: np.ndarray | None = None):
    radius = rng.uniform(9, 16)
    x, y = _place(rng, radius) if twin is None else _beside(rng, radius, twin)
    mask = (_X - x) ** 2 + (_Y - y) ** 2 <= radius**2
    _fill(rng, picture, mask, _colour(rng))
    return mask, ()


def _square(rng: np.random.Generator, picture: np.ndarray):
    radius = rng.uniform(9, 16)
    x, y = _place(rng, radius)
    mask = np.maximum(abs(_X - x), abs(_Y - y)) <= radius
    _fill(rng, picture, mask, _colour(rng))
    return mask, ()


def _triangle(rng: np.random.Generator, picture: np.ndarray):
    radius = rng.uniform(11, 18)
    x, y = _place(rng, radius)
    mask = (abs(_X - x) <= (_Y - y + radius) / 2) & (y + radius >= _Y)
    _fill(rng, picture, mask, _colour(rng))
    return mask, ()


def _person(rng: np.random.Generator, picture: np.ndarray):
    """Head, trunk, arms and legs, leaning; a face when seen from the front."""
    size, lean = rng.uniform(18, 26), rng.uniform(-0.5, 0.5)
    down = np.array([np.sin(lean), np.cos(lean)])
    right = np.array([down[1], -down[0]])  # of the picture
    neck = _place(rng, size) - 0.3 * size * down
    hip, head = neck + 0.75 * size * down, neck - 0.35 * size * down

    def limb(start: np.ndarray, side: float, angles: tuple[float, float], length: float):
        angle = rng.uniform(*angles)
        return start + length * size * (np.cos(angle) * down + side * np.sin(angle) * right)

    hands = [limb(neck, side, (0.5, 2.6), 0.8) for side in (-1, 1)]
    feet = [limb(hip, side, (0.15, 0.9), 0.85) for side in (-1, 1)]
    bones = [(neck, hip), *((neck, hand) for hand in hands), *((hip, foot) for foot in feet)]
    skin, clothes = _colour(rng), _colour(rng)
    skull = np.hypot(_X - head[0], _Y - head[1]) <= 0.3 * size
    whole = skull.copy()
    for a, b in bones:
        bone = _distance(a, b) <= 0.11 * size
        _fill(rng, picture, bone & ~whole, clothes)
        whole |= bone
    _fill(rng, picture, skull, skin)
    front = bool(rng.random() < 0.5)
    spot = np.hypot(_X - head[0], _Y - head[1]) <= 0.18 * size
    _fill(rng, picture, spot, (250, 250, 250) if front else (10, 10, 10))
    # Of somebody who looks at us, the left hand is on our right.
    order = (1, 0) if front else (0, 1)
    points = [head, *(hands[i] for i in order), *(feet[i] for i in order)]
    return whole, [tuple(point) for point in points]


def _distance(a: np.ndarray, b: np.ndarray) -> np.ndarray:  # (SIZE, SIZE)
    """From every pixel to the segment a b."""
    d = b - a
    t = np.clip(((_X - a[0]) * d[0] + (_Y - a[1]) * d[1]) / (d @ d), 0, 1)
    return np.hypot(_X - a[0] - t * d[0], _Y - a[1] - t * d[1])


_PAINTERS = {"person": _person, "disc": _disc, "square": _square, "triangle": _triangle}
