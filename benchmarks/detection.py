"""What one non-local block costs a detector (Sec. 6: "less than 5 % computation").

    python benchmarks/detection.py                  # R50 and R101, forward, one image of 800x1280
    python benchmarks/detection.py --count          # multiply-adds only: every row of Tables 5, 6
    python benchmarks/detection.py --trunks r50 --trials 3

Multiply-adds are counted for 1000 proposals and 100 detections. Times are medians of interleaved
calls of the trunk with its pyramid, where the block stands, and of a whole detector in eval mode
(random weights, every proposal kept); memory is what one call adds at its peak, in a process of its
own.
"""

import argparse

import torch
from op import extra_memory, fresh, interleaved, print_table

from nonlocalnet.models.detection import build_detector, one_block
from nonlocalnet.models.detection_costs import detector_costs
from nonlocalnet.recipes.detection import DETECTION_TABLES

SIZE = (800, 1280)


def count() -> None:
    """Every row of the tables, beside the one without blocks."""
    rows = []
    plain: dict[tuple[str, str], int] = {}
    for number, table in DETECTION_TABLES.items():
        for row in table.rows:
            with torch.device("meta"):
                model = row.recipe.model.build()
            costs = detector_costs(model, SIZE)
            key = (number, row.recipe.model.trunk)
            base = plain.setdefault(key, costs.multiply_adds)
            added = costs.multiply_adds - base
            rows.append(
                [
                    row.recipe.name,
                    f"{costs.parameters / 1e6:.2f}",
                    f"{costs.backbone / 1e9:.1f}",
                    f"{costs.task_head / 1e9:.1f}",
                    f"{costs.multiply_adds / 1e9:.1f}",
                    f"{added / 1e9:.1f}",
                    f"{costs.pairwise / 1e9:.1f}",
                    f"{100 * added / base:.1f} %",
                ]
            )
    head = ["recipe", "M", "trunk, FPN", "task head", "all, G", "added", "products in it", "share"]
    print_table(head, rows)


def detector(trunk: str, blocks: bool) -> torch.nn.Module:
    """In eval mode, tame at random weights, every proposal a detection."""
    torch.manual_seed(0)
    model = build_detector(
        "masks",
        trunk,
        nonlocal_=one_block(trunk) if blocks else None,
        box_score_thresh=0.0,
        min_size=(SIZE[0],),
    )
    for name, tensor in model.state_dict().items():
        if name.endswith("bn3.weight"):
            tensor.fill_(0.1)
    return model.eval()


@torch.no_grad()
def memory_of(trunk: str, blocks: bool) -> float:
    """MiB."""
    model, image = detector(trunk, blocks), torch.rand(3, *SIZE)
    model([image[:, :64, :64]])
    return extra_memory(lambda: model([image]))


@torch.no_grad()
def times(trunk: str, trials: int) -> list[str]:
    """Seconds, with and without the block, and MiB."""
    plain, one = detector(trunk, False), detector(trunk, True)
    image = torch.rand(3, *SIZE)
    batch = image[None]
    a, b, c, d = interleaved(
        [
            lambda: plain.backbone(batch),
            lambda: one.backbone(batch),
            lambda: plain([image]),
            lambda: one([image]),
        ],
        trials,
    )
    memory = [fresh(memory_of, trunk, blocks) for blocks in (False, True)]
    return [
        trunk,
        *(f"{a:.2f}", f"{b:.2f}", f"{100 * (b / a - 1):.1f} %"),
        *(f"{c:.2f}", f"{d:.2f}", f"{100 * (d / c - 1):.1f} %"),
        *(f"{value:.0f}" for value in memory),
    ]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trunks", nargs="+", default=["r50", "r101"])
    parser.add_argument("--trials", type=int, default=3)
    parser.add_argument("--count", action="store_true", help="multiply-adds only")
    options = parser.parse_args()
    if options.count:
        count()
    else:
        head = ["trunk", "trunk + FPN, s", "+1 NL", "more", "detector, s", "+1 NL", "more"]
        rows = [times(trunk, options.trials) for trunk in options.trunks]
        print_table([*head, "MiB", "+1 NL"], rows)
