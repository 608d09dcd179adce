"""COCO in its official layout, checked: boxes, masks, keypoints.

DIR/annotations/instances_SPLIT.json and person_keypoints_SPLIT.json, images in DIR/SPLIT/ or
DIR/images/SPLIT/. Labels are the category ids themselves and 0 is the background, as in
torchvision's COCO weights. What is wrong with an annotation is said with its id.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from nonlocalnet.data.optional import require

Task = Literal["masks", "keypoints"]
FILES = {"masks": "instances", "keypoints": "person_keypoints"}
FIELDS = {"image": ("id", "file_name", "height", "width"), "category": ("id", "name")}
"""What every image and every category must have."""
SIGMAS = (26, 25, 25, 35, 35, 79, 79, 72, 72, 62, 62, 107, 107, 87, 87, 89, 89)
"""Of COCO's 17 keypoints, in thousandths: how exactly people place each of them."""


@dataclass(frozen=True, kw_only=True)
class CocoObject:
    """One annotation that can be learnt from."""

    id: int
    label: int
    """Its category's id."""
    box: tuple[float, float, float, float]
    """px: x, y of the upper left corner, x, y of the lower right one, inside the image."""
    segmentation: Any
    """Polygons or run lengths, as in the file; see `CocoImage.mask`."""
    keypoints: np.ndarray | None
    """(K, 3): x, y in px, and 0 unlabelled, 1 hidden, 2 visible."""


@dataclass(frozen=True, kw_only=True)
class CocoImage:
    """One image and its objects; crowds are not among them."""

    id: int
    path: Path
    height: int
    width: int
    objects: tuple[CocoObject, ...]

    def mask(self, item: CocoObject) -> np.ndarray:  # (height, width) uint8
        """The object's mask: 1 inside."""
        mask = _mask_library()
        return mask.decode(_run_lengths(item.segmentation, self.height, self.width))


@dataclass(frozen=True, kw_only=True)
class CocoSplit:
    """The images and objects of one split for one task."""

    task: Task
    file: Path
    """The annotations."""
    images: tuple[CocoImage, ...]
    labels: Mapping[int, str]
    """Category id -> name."""
    keypoints: tuple[str, ...] = ()
    """Names, of task "keypoints"."""
    skeleton: tuple[tuple[int, int], ...] = ()
    """Keypoints to join in pictures, counted from 0."""
    sigmas: tuple[float, ...] = ()
    """How exactly each keypoint can be placed, for OKS."""
    notes: tuple[str, ...] = ()
    """What was left out, and why."""

    @property
    def num_classes(self) -> int:
        """With the background: 91 for COCO, 2 for its people."""
        return max(self.labels) + 1

    @property
    def swap(self) -> tuple[int, ...]:
        """Where each keypoint goes when the image is mirrored: left and right change places."""
        return tuple(self.keypoints.index(_mirrored(name)) for name in self.keypoints)


def read_coco(root: str | Path, split: str = "val2017", task: Task = "masks") -> CocoSplit:
    """Reads and checks one split.

    Args:
        root: The folder with `annotations`.
        split: As in the names: train2017, val2017, ...
        task: "masks" reads instances_*.json, "keypoints" person_keypoints_*.json.

    Raises:
        ValueError: A file or an image is missing or damaged, or an annotation makes no sense.
    """
    if task not in get_args(Task):
        raise ValueError(f"task must be one of {', '.join(get_args(Task))}, got {task!r}")
    root = Path(root)
    file = root / "annotations" / f"{FILES[task]}_{split}.json"
    content = _load(file)
    folders = [folder for folder in (root / split, root / "images" / split) if folder.is_dir()]
    if not folders:
        raise ValueError(f"{file}: its images should be in {root / split}, which is not there")
    labels = {int(entry["id"]): str(entry["name"]) for entry in content["categories"]}
    if not labels or min(labels) < 1:
        raise ValueError(f"{file}: needs one category or more, with ids from 1")
    people = content["categories"][0] if task == "keypoints" else {}
    if task == "keypoints" and (len(labels) != 1 or not people.get("keypoints")):
        raise ValueError(
            f"{file}: keypoints need exactly one category with a list of `keypoints`, got "
            f"{len(labels)} categories"
        )
    names = tuple(people.get("keypoints", ()))
    for name in names:
        if _mirrored(name) not in names:
            raise ValueError(
                f"{file}: category {people['id']} has the keypoint {name} and no "
                f"{_mirrored(name)}, which it becomes in a mirrored image; add it or rename {name}"
            )
    reader = _Reader(file, task, content, folders[0], labels, names)
    return CocoSplit(
        task=task,
        file=file,
        images=reader.images(),
        labels=labels,
        keypoints=names,
        skeleton=tuple((a - 1, b - 1) for a, b in people.get("skeleton", ())),
        sigmas=_sigmas(people, file) if names else (),
        notes=reader.notes(),
    )


class _Reader:
    """Goes through the annotations once, and collects what is left out."""

    def __init__(
        self,
        file: Path,
        task: Task,
        content: Mapping[str, Any],
        folder: Path,
        labels: Mapping[int, str],
        names: Sequence[str],
    ) -> None:
        self.file, self.task, self.content, self.folder = file, task, content, folder
        self.labels, self.names = labels, names
        self.left: dict[str, list[int]] = {}  # reason -> annotation ids

    def images(self) -> tuple[CocoImage, ...]:
        """All images, with the objects that can be learnt from."""
        known = {entry["id"]: entry for entry in self.content["images"]}
        objects: dict[int, list[CocoObject]] = {name: [] for name in known}
        seen = set()
        for entry in self.content["annotations"]:
            number = entry.get("id")
            if number is None or number in seen:
                what = "without an id" if number is None else f"{number} is there twice"
                raise ValueError(f"{self.file}: annotation {what}; every annotation needs its own")
            seen.add(number)
            if entry.get("image_id") not in known:
                self._fail(number, f"is of image {entry.get('image_id')}, which is not listed")
            item = self._object(entry, known[entry["image_id"]])
            if item is not None:
                objects[entry["image_id"]].append(item)
        images = [
            CocoImage(
                id=int(entry["id"]),
                path=self.folder / entry["file_name"],
                height=int(entry["height"]),
                width=int(entry["width"]),
                objects=tuple(objects[entry["id"]]),
            )
            for entry in self.content["images"]
        ]
        missing = [image.path for image in images if not image.path.is_file()]
        if missing:
            raise ValueError(
                f"{self.file}: {len(missing)} of {len(images)} images are missing, first: "
                f"{missing[0]}; complete the folder, or list only the images that are there"
            )
        return tuple(images)

    def notes(self) -> tuple[str, ...]:
        """One sentence per reason."""
        return tuple(
            f"{self.file.name}: {len(ids)} {reason} (annotation"
            f"{'s' if len(ids) > 1 else ''} {', '.join(map(str, ids[:3]))}"
            f"{', ...' if len(ids) > 3 else ''})"
            for reason, ids in self.left.items()
        )

    def _fail(self, number: int, what: str) -> None:
        raise ValueError(f"{self.file}: annotation {number} {what}; correct or remove it")

    def _object(self, entry: Mapping[str, Any], image: Mapping[str, Any]) -> CocoObject | None:
        number, height, width = entry["id"], image["height"], image["width"]
        if entry.get("category_id") not in self.labels:
            self._fail(number, f"has category {entry.get('category_id')}, which is not listed")
        box: Any = entry.get("bbox")
        numbers = isinstance(box, list) and len(box) == 4
        if not numbers or not all(isinstance(v, int | float) and math.isfinite(v) for v in box):
            self._fail(number, f"has the box {box}, where [x, y, width, height] in px is due")
        if entry.get("iscrowd"):
            self.left.setdefault("crowds are not trained on", []).append(number)
            return None
        x1, y1 = max(0.0, box[0]), max(0.0, box[1])
        x2, y2 = min(float(width), box[0] + box[2]), min(float(height), box[1] + box[3])
        if x2 <= x1 or y2 <= y1:
            self.left.setdefault("boxes without area inside their image", []).append(number)
            return None
        segmentation, points = entry.get("segmentation"), None
        if self.task == "masks":
            self._check_mask(number, segmentation, height, width)
        else:
            points = self._keypoints(number, entry.get("keypoints"), height, width)
        return CocoObject(
            id=number,
            label=int(entry["category_id"]),
            box=(x1, y1, x2, y2),
            segmentation=segmentation,
            keypoints=points,
        )

    def _check_mask(self, number: int, segmentation: Any, height: int, width: int) -> None:
        if isinstance(segmentation, list) and segmentation:
            if not all(
                isinstance(p, list) and len(p) >= 6 and len(p) % 2 == 0 for p in segmentation
            ):
                self._fail(number, "has a polygon that is not x, y of three corners or more")
        elif isinstance(segmentation, dict) and "counts" in segmentation:
            if list(segmentation.get("size", ())) != [height, width]:
                self._fail(
                    number,
                    f"has a mask of {segmentation.get('size')} px (height, width) in an image of "
                    f"{[height, width]}",
                )
        else:
            self._fail(number, "has no segmentation, polygons or run lengths")

    def _keypoints(self, number: int, flat: Any, height: int, width: int) -> np.ndarray:
        due = 3 * len(self.names)
        if not isinstance(flat, list) or len(flat) != due:
            got = len(flat) if isinstance(flat, list) else 0
            self._fail(number, f"has {got} keypoint numbers, where 3 x {len(self.names)} are due")
        points = np.array(flat, np.float32).reshape(-1, 3)
        x, y, seen = points.T
        outside = (seen > 0) & ~((x >= 0) & (y >= 0) & (x <= width) & (y <= height))
        if outside.any():
            self.left.setdefault("objects have keypoints outside their image", []).append(number)
        points[outside | (seen == 0)] = 0
        return points


def as_run_lengths(mask: np.ndarray) -> dict[str, Any]:
    """A mask (height, width) as the `segmentation` of an annotation."""
    lengths = _mask_library("writing masks").encode(np.asfortranarray(mask.astype(np.uint8)))
    return {"size": list(mask.shape), "counts": lengths["counts"].decode()}


def _load(file: Path) -> dict[str, Any]:
    if not file.is_file():
        near = sorted(path.name for path in file.parent.glob("*.json"))
        raise ValueError(f"{file}: no such file; there are: {', '.join(near) or 'none'}")
    try:
        content = json.loads(file.read_bytes())
    except ValueError as error:
        raise ValueError(f"{file}: not JSON ({error}); fetch it again") from None
    parts = ("images", "annotations", "categories")
    if not isinstance(content, dict) or not all(_entries(content.get(part)) for part in parts):
        raise ValueError(f"{file}: not COCO annotations, which are lists of {', '.join(parts)}")
    _check_fields(file, "image", content["images"])
    _check_fields(file, "category", content["categories"])
    return content


def _entries(part: Any) -> bool:
    return isinstance(part, list) and all(isinstance(entry, dict) for entry in part)


def _check_fields(file: Path, kind: str, entries: Sequence[Mapping[str, Any]]) -> None:
    seen = set()
    for entry in entries:
        lacking = [name for name in FIELDS[kind] if entry.get(name) is None]
        if lacking:
            raise ValueError(
                f"{file}: {kind} {entry.get('id')} has no {lacking[0]}; add it to the file"
            )
        if entry["id"] in seen:
            raise ValueError(
                f"{file}: {kind} {entry['id']} is there twice; every {kind} needs its own id"
            )
        seen.add(entry["id"])


def _mirrored(name: str) -> str:
    if name.startswith("left_"):
        return "right_" + name.removeprefix("left_")
    return "left_" + name.removeprefix("right_") if name.startswith("right_") else name


def _sigmas(category: Mapping[str, Any], file: Path) -> tuple[float, ...]:
    count = len(category["keypoints"])
    if "sigmas" in category and len(category["sigmas"]) == count:
        return tuple(float(value) for value in category["sigmas"])
    if count == len(SIGMAS):
        return tuple(value / 1000 for value in SIGMAS)
    raise ValueError(
        f"{file}: {count} keypoints, and only COCO's 17 have known tolerances; give the category "
        f"a list `sigmas` of {count} numbers, such as 0.07"
    )


def _mask_library(purpose: str = "reading masks") -> Any:
    return require("faster_coco_eval.core.mask", purpose, "detection")


def _run_lengths(segmentation: Any, height: int, width: int) -> Any:
    """Polygons or uncompressed run lengths as compressed ones."""
    mask = _mask_library()
    if isinstance(segmentation, list):
        return mask.merge(mask.frPyObjects(segmentation, height, width))
    if isinstance(segmentation["counts"], list):
        return mask.frPyObjects(segmentation, height, width)
    return segmentation
