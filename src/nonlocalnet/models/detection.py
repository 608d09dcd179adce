"""Mask R-CNN and Keypoint R-CNN with FPN and non-local blocks (Sec. 6, Tables 5 and 6).

torchvision's own classes, through the arguments of their constructors; blocks are inserted
afterwards, so every other key of the state dict is torchvision's. The blocks have no batch norm
(the trunk's is frozen), so that W_z is zero at the start and a detector detects what it did before.

Floor    models. Needs the extra [detection].
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torchvision.models.detection import KeypointRCNN, MaskRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.backbone_utils import BackboneWithFPN
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.generalized_rcnn import GeneralizedRCNN
from torchvision.models.detection.keypoint_rcnn import KeypointRCNNHeads, KeypointRCNNPredictor
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
from torchvision.models.resnet import Bottleneck, ResNet
from torchvision.ops.misc import FrozenBatchNorm2d

from nonlocalnet.nn.block import check_option_names
from nonlocalnet.nn.insert import insert_nonlocal, nonlocal_blocks

Task = Literal["masks", "keypoints"]
HEAD_PLACES = ("3", "7", "11", "15")
"""ReLUs after every second of the keypoint head's eight convolutions."""


@dataclass(frozen=True, kw_only=True)
class Trunk:
    """A residual network, and the sizes of what stands on it; the defaults are Detectron's."""

    blocks: tuple[int, int, int, int]
    """Residual blocks of res2, res3, res4, res5."""
    groups: int = 1
    width: int = 64
    """Channels per group of res2's 3x3 convolutions."""
    fpn: int = 256
    """Channels of the pyramid."""
    box_head: int = 1024
    mask_head: tuple[int, ...] = (256,) * 4
    keypoint_head: tuple[int, ...] = (512,) * 8
    anchors: tuple[int, ...] = (32, 64, 128, 256, 512)
    """px, one size per level."""
    pretrained: bool = True
    """Batch norm is frozen, and so are conv1 and res2; else all is trained, with group norm."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """More arguments of torchvision's FasterRCNN."""


TRUNKS = {
    "r50": Trunk(blocks=(3, 4, 6, 3)),
    "r101": Trunk(blocks=(3, 4, 23, 3)),
    "x152": Trunk(blocks=(3, 8, 36, 3), groups=32, width=8),
    # For generated images of 128 px, from scratch on a CPU.
    "tiny": Trunk(
        blocks=(1, 1, 2, 1),
        width=16,
        fpn=64,
        box_head=256,
        mask_head=(32, 32),
        keypoint_head=(48,) * 8,
        anchors=(12, 24, 40, 64, 96),
        pretrained=False,
        options={
            "rpn_pre_nms_top_n_train": 300,
            "rpn_pre_nms_top_n_test": 150,
            "rpn_post_nms_top_n_train": 150,
            "rpn_post_nms_top_n_test": 60,
            "rpn_batch_size_per_image": 64,
            "box_batch_size_per_image": 32,
            "box_detections_per_img": 20,
        },
    ),
}


class StrideFirst(Bottleneck):
    """A residual block whose stride is on its first 1x1 convolution, as in the MSRA ResNets."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.conv1.stride, self.conv2.stride = self.conv2.stride, self.conv1.stride


def build_detector(
    task: Task = "masks",
    trunk: str = "r50",
    num_classes: int = 91,
    *,
    nonlocal_: Mapping[str, Sequence[int]] | None = None,
    head_nonlocal: bool = False,
    block: Mapping[str, Any] | None = None,
    num_keypoints: int = 17,
    stride_in_1x1: bool = False,
    bn_eps: float = 1e-5,
    min_size: Sequence[int] = (800,),
    max_size: int = 1333,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    **options: Any,
) -> GeneralizedRCNN:
    """A detector with fresh weights; `config` holds what it was built from.

    Args:
        task: "masks": boxes and masks (Table 5); "keypoints": boxes and keypoints (Table 6).
        trunk: A name of `TRUNKS`.
        num_classes: With the background, which is class 0.
        nonlocal_: Residual blocks with a non-local block after them: {"res4": (4,)} is "right
            before the last residual block of res4" in R50, see `one_block`.
        head_nonlocal: Four blocks in the keypoint head, after every 2 of its 8 convolutions.
        block: Options of the blocks, as for NonLocalBlock; inner_channels is of those of the trunk,
            the head's have half the head's channels. Their weights are drawn as in the released
            code of the video networks.
        num_keypoints: Of an object.
        stride_in_1x1: Stride on the first convolution of a residual block (Detectron's R50, R101).
        bn_eps: Of the frozen batch norm; torchvision's own COCO weights need 0.
        min_size: px, shorter side; in training one of them is drawn, in tests the last is taken.
        max_size: px, longest side.
        mean: Of RGB in 0 .. 1, subtracted; None: ImageNet's.
        std: Divides; None: ImageNet's.
        **options: More arguments of torchvision's MaskRCNN or KeypointRCNN.

    Raises:
        ValueError: No such trunk, task or place of a block.

    Example:
        >>> model = build_detector("masks", "tiny", 4, nonlocal_=one_block("tiny"))
        >>> from nonlocalnet.nn.insert import nonlocal_blocks
        >>> list(nonlocal_blocks(model))
        ['backbone.body.layer3.0.nonlocal_block']
    """
    if trunk not in TRUNKS:
        raise ValueError(f"no trunk {trunk!r}; choose one of {', '.join(TRUNKS)}")
    if task not in ("masks", "keypoints"):
        raise ValueError(f"task must be masks or keypoints, got {task!r}")
    if head_nonlocal and task != "keypoints":
        raise ValueError("head_nonlocal puts blocks into the keypoint head; task masks has none")
    sizes = TRUNKS[trunk]
    backbone = _backbone(sizes, stride_in_1x1, bn_eps)
    settings: dict[str, Any] = {
        "min_size": tuple(min_size),
        "max_size": max_size,
        "image_mean": mean,
        "image_std": std,
        "box_head": TwoMLPHead(sizes.fpn * 7**2, sizes.box_head),
        "box_predictor": FastRCNNPredictor(sizes.box_head, num_classes),
        "rpn_anchor_generator": AnchorGenerator(
            tuple((size,) for size in sizes.anchors), ((0.5, 1.0, 2.0),) * len(sizes.anchors)
        ),
        **sizes.options,
        **options,
    }
    model = _with_heads(task, backbone, sizes, num_classes, num_keypoints, settings)
    _insert(model, trunk, nonlocal_ or {}, head_nonlocal, block or {})
    transform: Any = model.transform
    model.config = {  # type: ignore[assignment]
        "task": task,
        "trunk": trunk,
        "num_classes": num_classes,
        "nonlocal_": {stage: list(places) for stage, places in (nonlocal_ or {}).items()},
        "head_nonlocal": head_nonlocal,
        "block": dict(block or {}),
        "num_keypoints": num_keypoints,
        "stride_in_1x1": stride_in_1x1,
        "bn_eps": bn_eps,
        "min_size": list(min_size),
        "max_size": max_size,
        "mean": list(transform.image_mean),
        "std": list(transform.image_std),
        **options,
    }
    return model


def one_block(trunk: str) -> dict[str, tuple[int, ...]]:
    """The place of Sec. 6's block: after the last residual block of res4 but one.

    Example:
        >>> one_block("r50"), one_block("x152")
        ({'res4': (4,)}, {'res4': (34,)})
    """
    return {"res4": (TRUNKS[trunk].blocks[2] - 2,)}


def run_parts(
    model: Any,
    image: Tensor,  # (1, 3, H, W), multiples of 32
    boxes: Tensor,  # (N, fpn channels, 7, 7)
    objects: Tensor,  # (N, fpn channels, 14, 14)
) -> Iterator[Any]:
    """What each part gives, one after the other, without NMS and region pooling between them.

    Trunk with pyramid; RPN; box head; head of masks or keypoints.
    """
    heads = model.roi_heads
    features = model.backbone(image)
    yield features
    yield model.rpn.head(list(features.values()))
    yield heads.box_predictor(heads.box_head(boxes))
    if heads.mask_head is not None:
        yield heads.mask_predictor(heads.mask_head(objects))
    else:
        yield heads.keypoint_predictor(heads.keypoint_head(objects))


def _backbone(sizes: Trunk, stride_in_1x1: bool, bn_eps: float) -> BackboneWithFPN:
    norm: Any = partial(FrozenBatchNorm2d, eps=bn_eps) if sizes.pretrained else _group_norm
    body = ResNet(
        StrideFirst if stride_in_1x1 else Bottleneck,
        list(sizes.blocks),
        groups=sizes.groups,
        width_per_group=sizes.width,
        norm_layer=norm,
    )
    if sizes.pretrained:
        for part in (body.conv1, body.layer1):  # Detectron's FREEZE_AT: 2
            part.requires_grad_(False)
    layers = {f"layer{i + 1}": str(i) for i in range(4)}
    return BackboneWithFPN(body, layers, [256, 512, 1024, 2048], sizes.fpn)


def _group_norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(8, channels)


def _with_heads(
    task: Task,
    backbone: BackboneWithFPN,
    sizes: Trunk,
    num_classes: int,
    num_keypoints: int,
    settings: dict[str, Any],
) -> GeneralizedRCNN:
    if task == "masks":
        return MaskRCNN(
            backbone,
            mask_head=MaskRCNNHeads(sizes.fpn, sizes.mask_head, 1),
            mask_predictor=MaskRCNNPredictor(sizes.mask_head[-1], sizes.mask_head[-1], num_classes),
            **settings,
        )
    return KeypointRCNN(
        backbone,
        keypoint_head=KeypointRCNNHeads(sizes.fpn, sizes.keypoint_head),
        keypoint_predictor=KeypointRCNNPredictor(sizes.keypoint_head[-1], num_keypoints),
        **settings,
    )


def _insert(
    model: Any,
    trunk: str,
    places: Mapping[str, Sequence[int]],
    head: bool,
    block: Mapping[str, Any],
) -> None:
    """The blocks, part by part: each part takes a plain tensor as its example."""
    count = dict(zip(("res2", "res3", "res4", "res5"), TRUNKS[trunk].blocks, strict=True))
    for stage, numbers in places.items():
        if stage not in count or not all(0 <= n < count[stage] for n in numbers):
            raise ValueError(
                f"no residual blocks {list(numbers)} in {stage!r} of {trunk}; it has "
                + ", ".join(f"{name} 0 to {n - 1}" for name, n in count.items())
            )
    check_option_names(block)
    options = {"norm": None, **block}
    device = next(model.parameters()).device
    at = [f"layer{int(stage[3:]) - 1}.{n}" for stage, numbers in places.items() for n in numbers]
    if at:
        image = torch.zeros(1, 3, 64, 64, device=device)
        insert_nonlocal(model.backbone.body, at, image, **options)
    if head:
        region = torch.zeros(1, TRUNKS[trunk].fpn, 14, 14, device=device)
        options.pop("inner_channels", None)  # the head is narrower than the trunk
        insert_nonlocal(model.roi_heads.keypoint_head, HEAD_PLACES, region, **options)
    for inserted in nonlocal_blocks(model).values():
        inserted.reset_parameters(std=0.01)  # larger ones saturate, docs/detection.md
