"""Average precision as COCO defines it, through faster-coco-eval (Tables 5 and 6)."""

import copy
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from nonlocalnet.data.optional import require

Kind = Literal["bbox", "segm", "keypoints"]
SHORT: Mapping[Kind, str] = {"bbox": "box", "segm": "mask", "keypoints": "kp"}
"""How the paper's tables call them."""
_SIZES = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl")
_POINTS = ("AP", "AP50", "AP75", "APm", "APl", "AR", "AR50", "AR75", "ARm", "ARl")
COLUMNS: Mapping[Kind, tuple[str, ...]] = {"bbox": _SIZES, "segm": _SIZES, "keypoints": _POINTS}
"""What COCO's summaries list, in their order: by IoU, by size of the object, by detections."""


def average_precision(
    annotations: Path,
    results: Sequence[Mapping[str, Any]],
    kind: Kind,
    *,
    sigmas: Sequence[float] = (),
    images: Sequence[int] | None = None,
) -> dict[str, float | None]:
    """The figures of one kind of result, from 0 to 1; None where there is nothing to be found.

    Args:
        annotations: COCO's file with the truth.
        results: Entries of COCO's result format, for one kind only: where a mask comes with a box,
            COCO's code would take the box's area for the size of the object.
        kind: "bbox", "segm" or "keypoints".
        sigmas: Tolerances of the keypoints.
        images: Ids of the images that were looked at; None: all.
    """
    library = require("faster_coco_eval", "average precision", "detection")
    truth = library.COCO(str(annotations))
    if not results:
        return _nothing_found(truth, kind, images)
    # A copy: the library writes areas and more into the entries.
    evaluation = library.COCOeval_faster(truth, truth.loadRes(copy.deepcopy(list(results))), kind)
    if sigmas:
        evaluation.params.kpt_oks_sigmas = np.array(sigmas)
    if images is not None:
        evaluation.params.imgIds = sorted(images)
    evaluation.run()
    figures = zip(COLUMNS[kind], evaluation.stats, strict=True)
    return {name: None if value < 0 else float(value) for name, value in figures}


def _nothing_found(truth: Any, kind: Kind, images: Sequence[int] | None) -> dict[str, float | None]:
    """COCO's code takes no empty list. Zero, wherever there was something."""
    anything = any(
        not entry.get("iscrowd") and (images is None or entry["image_id"] in set(images))
        for entry in truth.anns.values()
    )
    return dict.fromkeys(COLUMNS[kind], 0.0 if anything else None)


def write_results(results: Sequence[Mapping[str, Any]]) -> bytes:
    """COCO's result file, as its evaluation server takes it.

    Example:
        >>> write_results([{"image_id": 1, "category_id": 1, "bbox": [0, 0, 2, 2], "score": 0.5}])
        b'[{"image_id": 1, "category_id": 1, "bbox": [0, 0, 2, 2], "score": 0.5}]'
    """
    for entry in results:
        if not math.isfinite(entry["score"]):
            raise ValueError(f"image {entry['image_id']} has a detection of score {entry['score']}")
    return json.dumps(list(results)).encode()
