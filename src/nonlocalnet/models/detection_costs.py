"""What a detector costs on one image: parameters and multiply-adds, part by part (Sec. 6).

Counted on tensors without data, for a given number of proposals and detections; a detector at work
has as many as it finds. The heads' region pooling and NMS are not multiply-adds and are left out.
"""

import copy
import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from nonlocalnet.models.detection import run_parts
from nonlocalnet.nn.block import NonLocalBlock
from nonlocalnet.nn.insert import nonlocal_blocks
from nonlocalnet.nn.probe import unnoticed


@dataclass(frozen=True, kw_only=True)
class DetectorCosts:
    """One detector on one image."""

    parameters: int
    backbone: int
    """Multiply-adds of trunk and pyramid."""
    rpn: int
    box_head: int
    task_head: int
    """Of masks or keypoints."""
    pairwise: int
    """Of the N x M products among them, as if f were stored."""

    @property
    def multiply_adds(self) -> int:
        """All of them."""
        return self.backbone + self.rpn + self.box_head + self.task_head


def detector_costs(
    model: Any, size: tuple[int, int] = (800, 1280), proposals: int = 1000, detections: int = 100
) -> DetectorCosts:
    """Counts a detector of `build_detector`; a multiply-add is one product and one sum.

    Args:
        model: The detector; left as it was.
        size: px, height and width of the resized image, multiples of 32.
        proposals: Regions that reach the box head.
        detections: Regions that reach the head of masks or keypoints.

    Example:
        >>> from nonlocalnet.models.detection import build_detector
        >>> costs = detector_costs(build_detector("masks", "tiny", 4), (128, 128), 60, 20)
        >>> costs.multiply_adds == costs.backbone + costs.rpn + costs.box_head + costs.task_head
        True
    """
    parameters = sum(p.numel() for p in model.parameters())
    model = copy.deepcopy(model).to("meta")
    products = []

    def look(block: NonLocalBlock, inputs: tuple[torch.Tensor], _: torch.Tensor) -> None:
        """The two products; a count of `bmm` would hold 1x1 convolutions of many regions too."""
        regions, channels, *shape = inputs[0].shape
        keys = math.prod(block.key_grid(shape))
        depth = block.inner_channels if block.embeds else channels
        products.append(regions * math.prod(shape) * keys * (depth + block.inner_channels))

    for block in nonlocal_blocks(model).values():
        block.engine = "dense"  # whose products are the paper's
        block.register_forward_hook(look)

    image = torch.zeros(1, 3, *size, device="meta")
    channels = model.backbone.out_channels
    boxes, objects = (
        torch.zeros(count, channels, cells, cells, device="meta")
        for count, cells in ((proposals, 7), (detections, 14))
    )
    with unnoticed(model), FlopCounterMode(display=False) as counter:
        parts = run_parts(model, image, boxes, objects)
        sums = [0, *(counter.get_total_flops() // 2 for _ in parts)]
    backbone, rpn, box_head, task_head = (b - a for a, b in pairwise(sums))
    return DetectorCosts(
        parameters=parameters,
        backbone=backbone,
        rpn=rpn,
        box_head=box_head,
        task_head=task_head,
        pairwise=sum(products),
    )
