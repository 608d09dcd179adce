"""Detections of images: one image, a whole split with its average precision (Sec. 6)."""

import hashlib
import platform
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from nonlocalnet.data.coco import CocoSplit, as_run_lengths
from nonlocalnet.data.coco_sets import CocoTest
from nonlocalnet.engine.coco_ap import SHORT, Kind, average_precision
from nonlocalnet.engine.processes import everyone, place
from nonlocalnet.engine.workers import faults_of_workers
from nonlocalnet.nn.probe import unnoticed

KINDS: Mapping[str, tuple[Kind, Kind]] = {
    "masks": ("bbox", "segm"),
    "keypoints": ("bbox", "keypoints"),
}
Found = dict[Kind, list[dict[str, Any]]]


@dataclass(frozen=True, kw_only=True)
class Detections:
    """What was found in one image, best first; px of the image as it was given."""

    boxes: np.ndarray  # (N, 4): x, y of the upper left corner, x, y of the lower right one
    labels: np.ndarray  # (N,) category ids
    scores: np.ndarray  # (N,)
    masks: np.ndarray | None = None  # (N, H, W) bool
    keypoints: np.ndarray | None = None  # (N, K, 3): x, y and the height of the peak (a logit)

    def above(self, score: float) -> "Detections":
        """Those with this score or more."""
        keep = self.scores >= score
        return Detections(
            boxes=self.boxes[keep],
            labels=self.labels[keep],
            scores=self.scores[keep],
            masks=None if self.masks is None else self.masks[keep],
            keypoints=None if self.keypoints is None else self.keypoints[keep],
        )


def detect(model: Any, image: Tensor) -> Detections:
    """Boxes, and masks or keypoints, of one image (3, H, W) of RGB in 0 .. 1."""
    with unnoticed(model):
        found = model([image.to(next(model.parameters()).device)])[0]
    # numpy knows no bfloat16, which autocast may leave
    exact = {name: v.float() if v.is_floating_point() else v for name, v in found.items()}
    arrays = {name: value.cpu().numpy() for name, value in exact.items()}
    points = arrays.get("keypoints")
    if points is not None:
        points = points.copy()
        points[..., 2] = arrays["keypoints_scores"]
    return Detections(
        boxes=arrays["boxes"],
        labels=arrays["labels"],
        scores=arrays["scores"],
        masks=arrays["masks"][:, 0] > 0.5 if "masks" in arrays else None,
        keypoints=points,
    )


def coco_entries(image: int, found: Detections) -> Found:
    """An image's detections in COCO's result format, by kind."""
    rows = range(len(found.scores))

    def entry(i: int, **more: Any) -> dict[str, Any]:
        score = float(found.scores[i])
        return {"image_id": image, "category_id": int(found.labels[i]), "score": score, **more}

    def box(i: int) -> list[float]:
        x1, y1, x2, y2 = (float(value) for value in found.boxes[i])
        return [x1, y1, x2 - x1, y2 - y1]

    entries: Found = {"bbox": [entry(i, bbox=box(i)) for i in rows]}
    if found.masks is not None:
        entries["segm"] = [entry(i, segmentation=as_run_lengths(found.masks[i])) for i in rows]
    if found.keypoints is not None:
        points = found.keypoints.astype(float)
        entries["keypoints"] = [entry(i, keypoints=points[i].flatten().tolist()) for i in rows]
    return entries


def figures_of(split: CocoSplit, found: Mapping[int, Found]) -> dict[str, float | None]:
    """All columns of the task, such as box_AP50 and mask_AP, over the images of `found`."""
    figures = {}
    for kind in KINDS[split.task]:
        results = [entry for image in found.values() for entry in image[kind]]
        sigmas = split.sigmas if kind == "keypoints" else ()
        columns = average_precision(split.file, results, kind, sigmas=sigmas, images=list(found))
        figures |= {f"{SHORT[kind]}_{name}": value for name, value in columns.items()}
    return figures


def run_detector_test(
    model: Any,
    split: CocoSplit,
    *,
    workers: int = 1,
    limit: int | None = None,
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> tuple[dict[str, Any], dict[Kind, list[dict[str, Any]]]]:
    """Tests a detector; under torchrun the images are shared out.

    Args:
        model: From `build_detector`.
        split: Its truth.
        workers: Processes that read ahead.
        limit: Only so many of the first images.
        progress: Called with (images done, images in all).

    Returns:
        The content of results.json, and COCO's result lists by kind; the same in every process.

    Raises:
        ValueError: An image cannot be read, or the detector is for other classes.
    """
    check_fits(model, split)
    rank, world = place()
    count = min(limit or len(split.images), len(split.images))
    loader: Iterable[tuple[Tensor, int]] = DataLoader(
        CocoTest(split), batch_size=None, sampler=range(rank, count, world), num_workers=workers
    )
    own: dict[int, Found] = {}
    with faults_of_workers():
        for done, (image, number) in enumerate(loader):
            own[int(number)] = coco_entries(int(number), detect(model, image))
            progress(min((done + 1) * world, count), count)
    found = everyone(own)
    figures = figures_of(split, found)
    heads, size = model.roi_heads, model.transform.min_size[-1]
    results = {
        "metrics": {f"{name}@{size}": value for name, value in figures.items()},
        "protocol": {
            "task": split.task,
            "annotations": split.file.name,
            "annotations_sha256": hashlib.sha256(split.file.read_bytes()).hexdigest(),
            "shorter_side": size,
            "longest_side": model.transform.max_size,
            "proposals": model.rpn.post_nms_top_n(),
            "detections_per_image": heads.detections_per_img,
            "score_threshold": heads.score_thresh,
            "nms": heads.nms_thresh,
            "test_time_augmentation": "none",
            "torch": torch.__version__,
            "machine": platform.machine(),
            "evaluated": len(found),
            "missing": len(split.images) - len(found),
        },
        "labels": {str(number): name for number, name in split.labels.items()},
        "notes": list(split.notes),
    }
    kinds = KINDS[split.task]
    return results, {kind: [e for image in found.values() for e in image[kind]] for kind in kinds}


def check_fits(model: Any, split: CocoSplit) -> None:
    """Whether a detector is made for the classes and keypoints of this data.

    Raises:
        ValueError: It is not.
    """
    config = model.config
    if config["task"] != split.task:
        raise ValueError(f"a detector of {config['task']} and data of {split.task} do not fit")
    have: Sequence[tuple[str, int, int]] = [("classes", config["num_classes"], split.num_classes)]
    if split.task == "keypoints":
        have = [*have, ("keypoints", config["num_keypoints"], len(split.keypoints))]
    for what, ours, theirs in have:
        if ours != theirs:
            raise ValueError(
                f"the detector has {ours} {what}, {split.file} has {theirs} (classes: with the "
                f"background, so the largest category id + 1); build it with num_{what}={theirs}"
            )
