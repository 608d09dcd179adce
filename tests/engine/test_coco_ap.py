"""Average precision is COCO's: equal to pycocotools, and 1 for the truth itself."""

import contextlib
import io
import json

import numpy as np
import pytest
import torch

from nonlocalnet.data.coco import SIGMAS, read_coco
from nonlocalnet.data.coco_sets import target_of
from nonlocalnet.data.coco_shapes import write_shapes
from nonlocalnet.engine.coco_ap import COLUMNS, average_precision, write_results
from nonlocalnet.engine.detect import Detections, coco_entries, figures_of

SIZE = 200


def random_truth(rng, kind, images=12, objects=5):
    """Objects of all sizes, some of them crowds, and noisy detections of them and of nothing."""
    from faster_coco_eval.core import mask as library

    truth, results = [], []

    def entry(x, y, w, h):
        box = [float(x), float(y), float(w), float(h)]
        made = {"bbox": box, "area": float(w * h)}
        if kind == "segm":
            inside = np.zeros((SIZE, SIZE), np.uint8, order="F")
            inside[int(y) : int(y + h) + 1, int(x) : int(x + w) + 1] = 1
            inside[int(y) : int(y + h / 2), int(x) : int(x + w / 2)] = 0
            lengths = library.encode(inside)
            made["segmentation"] = {"size": [SIZE, SIZE], "counts": lengths["counts"].decode()}
            made["area"] = float(inside.sum())
        return made

    def points(box, noise):
        spots = np.array(box[:2]) + rng.random((17, 2)) * box[2:]
        return spots, spots + rng.normal(0, noise, (17, 2))

    for image in range(images):
        for _ in range(objects):
            w, h = rng.uniform(4, 140, 2)
            x, y = rng.uniform(0, SIZE - 1 - w), rng.uniform(0, SIZE - 1 - h)
            category = 1 if kind == "keypoints" else int(rng.integers(1, 4))
            made = entry(x, y, w, h)
            made |= {"image_id": image, "category_id": category, "id": len(truth) + 1}
            made["iscrowd"] = int(rng.random() < 0.1)
            spots, found = points(made["bbox"], rng.uniform(1, 8))
            if kind == "keypoints":
                seen = rng.integers(0, 3, 17)
                made["keypoints"] = np.column_stack([spots, seen]).flatten().tolist()
                made["num_keypoints"] = int((seen > 0).sum())
            truth.append(made)
            for _ in range(int(rng.integers(0, 3))):
                shift = rng.normal(0, 4, 4)
                near = np.clip(np.array([x, y, w, h]) + shift, 1, SIZE - 60)
                result = {"image_id": image, "category_id": category, "score": float(rng.random())}
                if kind == "keypoints":
                    spot = np.column_stack([found, np.ones(17)])
                    result["keypoints"] = spot.flatten().tolist()
                elif kind == "segm":
                    result["segmentation"] = entry(*near)["segmentation"]
                else:
                    result["bbox"] = near.tolist()
                results.append(result)
    names = ["person"] if kind == "keypoints" else ["a", "b", "c", "never seen"]
    return {
        "info": {},
        "images": [{"id": i, "height": SIZE, "width": SIZE} for i in range(images)],
        "annotations": truth,
        "categories": [{"id": i + 1, "name": name} for i, name in enumerate(names)],
    }, results


def by_pycocotools(file, results, kind, images=None):
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(file))
        evaluation = COCOeval(truth, truth.loadRes(results), kind)
        if images is not None:
            evaluation.params.imgIds = images
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation.stats


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("kind", COLUMNS)
def test_equal_to_pycocotools(tmp_path, kind, seed):
    truth, results = random_truth(np.random.default_rng(seed), kind)
    file = tmp_path / "truth.json"
    file.write_text(json.dumps(truth))
    for images in (None, [1, 2, 5]):
        sigmas = [value / 1000 for value in SIGMAS] if kind == "keypoints" else ()
        ours = average_precision(file, results, kind, sigmas=sigmas, images=images)
        theirs = by_pycocotools(file, json.loads(write_results(results)), kind, images)
        assert len(ours) == len(theirs)
        got = [-1.0 if value is None else value for value in ours.values()]
        np.testing.assert_allclose(got, theirs, atol=1e-6)
        assert 0.05 < ours["AP"] < 0.95


@pytest.fixture(scope="module")
def shapes(tmp_path_factory):
    return write_shapes(tmp_path_factory.mktemp("shapes"), train=1, val=6)


@pytest.mark.parametrize("task", ["masks", "keypoints"])
def test_the_truth_scores_1_and_nothing_scores_0(shapes, task):
    """The whole way of a detection: arrays, COCO's entries, figures; boxes, masks and keypoints."""
    split = read_coco(shapes, "val2017", task)
    found, nothing = {}, {}
    for image in split.images:
        target = {name: value.numpy() for name, value in target_of(image).items()}
        whole = Detections(
            boxes=target["boxes"],
            labels=target["labels"],
            scores=np.ones(len(target["labels"]), np.float32),
            masks=target["masks"] > 0 if task == "masks" else None,
            keypoints=target.get("keypoints"),
        )
        found[image.id] = coco_entries(image.id, whole)
        nothing[image.id] = coco_entries(image.id, whole.above(2.0))
    figures = figures_of(split, found)
    short = "mask" if task == "masks" else "kp"
    for name in ("box_AP", "box_AP75", f"{short}_AP", f"{short}_AP75"):
        assert figures[name] == pytest.approx(1.0, abs=1e-9), name
    assert figures_of(split, nothing)["box_AP"] == 0.0
    shifted = {number: coco_entries(number, moved(split, number)) for number in list(found)[:3]}
    assert 0 < figures_of(split, shifted)["box_AP"] < 0.9


def moved(split, number):
    (image,) = (image for image in split.images if image.id == number)
    target = target_of(image)
    boxes = target["boxes"] + torch.tensor([2.0, 2.0, 2.0, 2.0])
    scores = np.ones(len(boxes), np.float32)
    points = target["keypoints"].numpy() if "keypoints" in target else None
    masks = target["masks"].numpy() > 0 if "masks" in target else None
    labels = target["labels"].numpy()
    return Detections(
        boxes=boxes.numpy(), labels=labels, scores=scores, masks=masks, keypoints=points
    )
