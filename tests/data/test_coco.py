"""COCO files: what is read, what is said about what is wrong, what mirroring means."""

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from nonlocalnet.data.coco import read_coco
from nonlocalnet.data.coco_sets import CocoTest, CocoTrain, collate, mirror
from nonlocalnet.data.coco_shapes import GAP, write_shapes

REAL = Path(__file__).parents[3] / "shared" / "data"


@pytest.fixture(scope="module")
def shapes(tmp_path_factory):
    return write_shapes(tmp_path_factory.mktemp("shapes"), train=12, val=3)


def test_masks_boxes_and_pairs_agree(shapes):
    """A box is that of the visible mask; a disc is a twin when there are two."""
    split = read_coco(shapes, "train2017", "masks")
    assert split.num_classes == 6 and split.notes == ()
    kinds = set()
    for image in split.images:
        names = [split.labels[item.label] for item in image.objects]
        assert names.count("disc") <= 1 and names.count("twin") in (0, 2)
        kinds |= set(names)
        masks = [image.mask(item) for item in image.objects]
        assert np.max(np.sum(masks, axis=0)) == 1  # what is hidden belongs to one object only
        for mask, item in zip(masks, image.objects, strict=True):
            rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
            assert item.box == (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)
        twins = [item.box for item in image.objects if split.labels[item.label] == "twin"]
        for (a, b, c, d), (e, f, g, h) in pairwise(twins):
            apart = np.hypot((a + c - e - g) / 2, (b + d - f - h) / 2)
            assert 9 < apart < 2 * 16 + GAP + 8  # each may be hidden by half
    assert kinds == {"person", "square", "triangle", "disc", "twin"}


def test_an_image_is_a_function_of_seed_and_number(shapes, tmp_path):
    again = write_shapes(tmp_path, train=3, val=1)
    for name in ("000000.png", "000002.png"):
        path = Path("train2017") / name
        assert (again / path).read_bytes() == (shapes / path).read_bytes()
    other = write_shapes(tmp_path / "other", train=1, val=1, seed=1)
    path = Path("train2017") / "000000.png"
    assert (other / path).read_bytes() != (shapes / path).read_bytes()


def test_visible_keypoints_lie_on_their_person(shapes):
    points = read_coco(shapes, "train2017", "keypoints")
    masks = read_coco(shapes, "train2017", "masks")
    assert points.keypoints[1:3] == ("left_hand", "right_hand") and points.swap == (0, 2, 1, 4, 3)
    people = {item.id for image in points.images for item in image.objects}
    for image, people_of in zip(masks.images, points.images, strict=True):
        by_id = {item.id: image.mask(item) for item in image.objects if item.id in people}
        for item in people_of.objects:
            for x, y, seen in item.keypoints:
                if seen:
                    assert by_id[item.id][round(float(y)), round(float(x))] == (seen == 2)


def test_mirroring_twice_is_nothing_and_once_swaps_left_and_right(shapes):
    for task in ("masks", "keypoints"):
        split = read_coco(shapes, "train2017", task)
        data = CocoTrain(split, flip=False)
        example = data[0, 0]
        once = mirror(example, split.swap)
        twice = mirror(once, split.swap)
        assert torch.equal(twice.image, example.image)
        for name, value in example.target.items():
            torch.testing.assert_close(twice.target[name], value)
        x1, _, x2, _ = (int(v) for v in once.target["boxes"][0])
        if task == "masks":  # the mirrored box is that of the mirrored mask
            columns = once.target["masks"][0].any(0).nonzero().flatten()
            assert (x1, x2) == (columns[0], columns[-1] + 1)
        else:
            hand = example.target["keypoints"][0, 1]
            assert once.target["keypoints"][0, 2].tolist() == [127 - hand[0], hand[1], hand[2]]


def test_half_are_mirrored_by_seed_epoch_and_index(shapes):
    split = read_coco(shapes, "train2017", "masks")
    data, same, other = CocoTrain(split), CocoTrain(split), CocoTrain(split, seed=1)
    keys = [(epoch, index) for epoch in range(4) for index in range(len(data))]

    def flips(of):
        plain = CocoTrain(split, flip=False)
        return [not torch.equal(of[key].image, plain[key].image) for key in keys]

    assert flips(data) == flips(same) != flips(other)
    assert 0.25 < np.mean(flips(data)) < 0.75
    batch = collate([data[key] for key in keys[:3]])
    assert batch.index.tolist() == [0, 1, 2] and len(batch.images) == len(batch.targets) == 3


def first(content):
    return content["annotations"][0]


BROKEN = {
    "twice": (lambda c: c["annotations"].append(first(c)), "annotation 1 is there twice"),
    "image": (lambda c: first(c).update(image_id=99), "annotation 1 is of image 99"),
    "category": (lambda c: first(c).update(category_id=7), "annotation 1 has category 7"),
    "box": (lambda c: first(c).update(bbox=[1, 2, 3]), r"annotation 1 has the box \[1, 2, 3\]"),
    "infinite": (lambda c: first(c).update(bbox=[1, 2, 3, float("nan")]), "annotation 1 has the"),
    "polygon": (lambda c: first(c).update(segmentation=[[1, 2, 3, 4]]), "three corners or more"),
    "no mask": (lambda c: first(c).update(segmentation=[]), "annotation 1 has no segmentation"),
    "mask": (
        lambda c: first(c).update(segmentation={"size": [4, 5], "counts": "0"}),
        r"annotation 1 has a mask of \[4, 5\] px .* in an image of \[128, 128\]",
    ),
    "missing": (
        lambda c: c["images"][1].update(file_name="gone.png"),
        r"1 of 3 images are missing, first: .*gone.png",
    ),
    "no list": (lambda c: c.pop("categories"), "not COCO annotations"),
    "no entry": (lambda c: c["images"].append(7), "not COCO annotations"),
    "no height": (lambda c: c["images"][1].pop("height"), "image 1 has no height"),
    "no file": (lambda c: c["images"][2].pop("file_name"), "image 2 has no file_name"),
    "no name": (lambda c: c["categories"][0].pop("name"), "category 1 has no name"),
    "image twice": (lambda c: c["images"][1].update(id=0), "image 0 is there twice"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_wrong_annotation_is_named(shapes, tmp_path, kind):
    damage, sentence = BROKEN[kind]
    content = json.loads((shapes / "annotations" / "instances_val2017.json").read_text())
    damage(content)
    with pytest.raises(ValueError, match=sentence):
        read_coco(rooted(tmp_path, shapes, "instances", content), "val2017", "masks")


def rooted(folder, shapes, kind, content):
    (folder / "annotations").mkdir()
    (folder / "images").mkdir()
    (folder / "images" / "val2017").symlink_to(shapes / "val2017")
    (folder / "annotations" / f"{kind}_val2017.json").write_text(json.dumps(content))
    return folder


def test_what_is_left_out_is_said_with_ids(shapes, tmp_path):
    content = json.loads((shapes / "annotations" / "person_keypoints_val2017.json").read_text())
    one, two, three = content["annotations"][:3]
    one["bbox"][2] = 0
    two["iscrowd"] = 1
    three["keypoints"][:3] = [400, 20, 2]
    split = read_coco(rooted(tmp_path, shapes, "person_keypoints", content), "val2017", "keypoints")
    said = " ".join(split.notes)
    for reason, entry in (("without area", one), ("crowds", two), ("outside their image", three)):
        assert reason in said and f"(annotation {entry['id']})" in said
    (item,) = (i for image in split.images for i in image.objects if i.id == three["id"])
    assert item.keypoints[0].tolist() == [0, 0, 0]
    three["keypoints"] = three["keypoints"][:6]
    with pytest.raises(ValueError, match=rf"annotation {three['id']} has 6 keypoint numbers"):
        read_coco(rooted_again(tmp_path, content), "val2017", "keypoints")


def test_a_keypoint_without_its_other_side_is_named(shapes, tmp_path):
    content = json.loads((shapes / "annotations" / "person_keypoints_val2017.json").read_text())
    names = content["categories"][0]["keypoints"]
    names[[name.startswith("right_") for name in names].index(True)] = "tail"
    with pytest.raises(ValueError, match=r"category 1 has the keypoint left_.* and no right_"):
        read_coco(rooted(tmp_path, shapes, "person_keypoints", content), "val2017", "keypoints")


def rooted_again(folder, content):
    (folder / "annotations" / "person_keypoints_val2017.json").write_text(json.dumps(content))
    return folder


def test_an_image_of_another_size_or_no_image_is_named(shapes, tmp_path):
    content = json.loads((shapes / "annotations" / "instances_val2017.json").read_text())
    content["images"][0]["height"] = 64
    for entry in content["annotations"]:
        entry["segmentation"] = [[1, 1, 1, 9, 9, 9]]
    split = read_coco(rooted(tmp_path, shapes, "instances", content), "val2017", "masks")
    with pytest.raises(ValueError, match=r"128x128 px \(height x width\), but image 0 .* 64x128"):
        CocoTest(split)[0]
    with pytest.raises(ValueError, match="no such file; there are: instances_val2017"):
        read_coco(tmp_path, "train2017", "masks")


@pytest.mark.skipif(not REAL.is_dir(), reason="the real COCO images are not at ../shared/data")
@pytest.mark.parametrize(
    ("folder", "task", "objects"), [("tinycoco", "masks", 284), ("pose_minicoco", "keypoints", 86)]
)
def test_real_images(folder, task, objects):
    split = read_coco(REAL / folder, "train2017", task)
    assert split.num_classes == (91 if task == "masks" else 2)
    assert sum(len(image.objects) for image in split.images) == objects
    data = CocoTrain(split)
    for index in (0, len(data) - 1):
        image, target, _ = data[0, index]
        boxes = target["boxes"]
        assert (boxes[:, 2:] > boxes[:, :2]).all() and boxes.max() <= max(image.shape)
        if task == "masks":
            inside = target["masks"].flatten(1).sum(1)
            area = (boxes[:, 2] - boxes[:, 0]).ceil() * (boxes[:, 3] - boxes[:, 1]).ceil()
            assert (inside > 0).all() and (inside <= area * 1.1 + 4).all()
