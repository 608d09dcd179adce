"""COCO images as torch data sets: what a detector is trained on and tested with."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from nonlocalnet.data.coco import CocoImage, CocoSplit
from nonlocalnet.data.optional import require


class Example(NamedTuple):
    """One training image, as torchvision's detectors take it."""

    image: Tensor  # (3, H, W) float32, RGB in 0 .. 1
    target: dict[
        str, Tensor
    ]  # boxes (N, 4), labels (N,), and masks (N, H, W) or keypoints (N, K, 3)
    index: int
    """Into `CocoTrain.images`."""


class Batch(NamedTuple):
    """Images of different sizes, which the detector resizes itself."""

    images: list[Tensor]
    targets: list[dict[str, Tensor]]
    index: Tensor  # (B,) int64


def collate(examples: Sequence[Example]) -> Batch:
    """Lists of a batch's parts."""
    images, targets, index = zip(*examples, strict=True)
    return Batch(list(images), list(targets), torch.tensor(index))


class CocoTrain(torch.utils.data.Dataset[Example]):
    """Images with something to learn; item (epoch, index) is a function of the seed alone.

    Left out are images without objects, and for keypoints those without a labelled keypoint. Half
    of the images are mirrored, left and right keypoints changing places; the detector draws the
    scale.

    Args:
        split: From `read_coco`.
        seed: Of the mirroring.
        flip: Mirror half of them.

    Raises:
        ValueError: No image has anything to learn.
    """

    def __init__(self, split: CocoSplit, seed: int = 0, flip: bool = True) -> None:
        self.split, self.seed, self.flip = split, seed, flip
        self.images = [image for image in split.images if _useful(image)]
        if not self.images:
            raise ValueError(f"{split.file}: none of its {len(split.images)} images has an object")

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, key: tuple[int, int]) -> Example:
        """The image that `index` shows in `epoch`."""
        epoch, index = key
        image = self.images[index]
        example = Example(read_image(image), target_of(image), index)
        rng = np.random.default_rng((self.seed, epoch, index))
        return mirror(example, self.split.swap) if self.flip and rng.random() < 0.5 else example


class CocoTest(torch.utils.data.Dataset[tuple[Tensor, int]]):
    """Every image, as (image, COCO id)."""

    def __init__(self, split: CocoSplit) -> None:
        self.split = split

    def __len__(self) -> int:
        return len(self.split.images)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        """The image and its id."""
        image = self.split.images[index]
        return read_image(image), image.id


def read_image(image: CocoImage) -> Tensor:  # (3, H, W) float32, RGB in 0 .. 1
    """The pixels.

    Raises:
        ValueError: It cannot be read, or has another size than the annotations say.
    """
    pixels = decode(str(image.path))
    if pixels.shape[1:] != (image.height, image.width):
        raise ValueError(
            f"{image.path}: {pixels.shape[1]}x{pixels.shape[2]} px (height x width), but image "
            f"{image.id} of the annotations is {image.height}x{image.width}; fetch it again"
        )
    return pixels


def decode(path: str) -> Tensor:  # (3, H, W) float32, RGB in 0 .. 1
    """Any image file.

    Raises:
        ValueError: It cannot be read.
    """
    pillow = require("PIL.Image", "reading images", "detection")
    try:
        with pillow.open(path) as file:
            pixels = np.array(file.convert("RGB"))
    except (OSError, ValueError, SyntaxError) as error:  # whatever a damaged file leads to
        said = str(error).split("\n")[0][:100]
        raise ValueError(f"{path}: not an image that can be read ({said})") from None
    return torch.from_numpy(pixels).permute(2, 0, 1).float() / 255


def target_of(image: CocoImage) -> dict[str, Tensor]:
    """What a detector should find: see `Example.target`."""
    objects = image.objects
    target = {
        "boxes": torch.tensor([item.box for item in objects], dtype=torch.float32),
        "labels": torch.tensor([item.label for item in objects]),
    }
    if objects[0].keypoints is None:
        masks = np.stack([image.mask(item) for item in objects])
        target["masks"] = torch.from_numpy(masks)
    else:
        points = [item.keypoints for item in objects if item.keypoints is not None]
        target["keypoints"] = torch.from_numpy(np.stack(points))
    return target


def mirror(example: Example, swap: Sequence[int]) -> Example:
    """Left becomes right, in the picture and in the names of the keypoints."""
    width = example.image.shape[-1]
    boxes = example.target["boxes"].clone()
    boxes[:, [0, 2]] = width - boxes[:, [2, 0]]
    target = {**example.target, "boxes": boxes}
    if "masks" in target:
        target["masks"] = target["masks"].flip(-1)
    if "keypoints" in target:
        points = target["keypoints"][:, list(swap)].clone()
        labelled = points[..., 2] > 0
        points[..., 0] = torch.where(labelled, width - 1 - points[..., 0], points[..., 0])
        target["keypoints"] = points
    return Example(example.image.flip(-1), target, example.index)


def _useful(image: CocoImage) -> bool:
    return any(item.keypoints is None or item.keypoints[:, 2].any() for item in image.objects)
