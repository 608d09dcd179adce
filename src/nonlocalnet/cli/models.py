"""`nonlocalnet models`: what the networks cost, and the paper's figures beside ours."""

import json
import textwrap
from dataclasses import asdict

HELP = """Table of the networks: parameters, multiply-adds, sizes of the maps, places of the blocks.

The name of a detection recipe (of Tables 5 and 6) gives the costs of its detector, part by part.

Example: nonlocalnet models --preset official"""

WIDTH = 80


def add_arguments(parser) -> None:
    """Options of the command."""
    parser.add_argument("network", type=str, nargs="?", help="only this one; default: all")
    parser.add_argument("--preset", type=str, default="paper", help="whose layout, see build")
    parser.add_argument("--clip", type=str, default="32x224x224", help="frames x height x width")
    parser.add_argument(
        "--stride_in_1x1", action="store_true", help="a stage's stride on its first 1x1"
    )
    parser.add_argument(
        "--check", action="store_true", help="Tables 1 and 2e beside the paper's figures"
    )
    parser.add_argument("--json", action="store_true", help="machine-readable output")


def run(options) -> int:
    """Prints one table, or the check."""
    from nonlocalnet.cli.progress import progress_bar
    from nonlocalnet.models.costs import count_named
    from nonlocalnet.models.paper import check
    from nonlocalnet.models.zoo import list_models
    from nonlocalnet.recipes.detection import RECIPES

    if options.network in RECIPES:
        return _detector(RECIPES[options.network], options.json)
    with progress_bar("counting") as progress:
        if options.check:
            checked = check(progress)
            print(_check_json(checked) if options.json else _check_text(checked))
            return 0
        clip = _clip(options.clip)
        names = [options.network] if options.network else list_models()
        costs = {}
        for name in names:
            progress(len(costs), len(names))
            costs[name] = count_named(
                name, clip, preset=options.preset, stride_in_1x1=options.stride_in_1x1
            )
    if options.json:
        rows = [{"name": name, **asdict(cost)} for name, cost in costs.items()]
        print(json.dumps({"preset": options.preset, "clip": clip, "networks": rows}, indent=1))
        return 0
    print(f"Preset {options.preset}, one clip of {options.clip}.\n")
    for line in [*_table(costs), "", *_places(costs), *_sizes(costs)]:
        print(line.rstrip())
    return 0


def _detector(recipe, as_json: bool) -> int:
    """Costs of a detector at the size of Sec. 6's tests."""
    import torch

    from nonlocalnet.models.detection_costs import detector_costs
    from nonlocalnet.nn.insert import nonlocal_blocks

    size, proposals, detections = (800, 1280), 1000, 100
    with torch.device("meta"):
        model = recipe.model.build()
    costs, blocks = detector_costs(model, size, proposals, detections), list(nonlocal_blocks(model))
    if as_json:
        print(json.dumps({"name": recipe.name, "image": size, "blocks": blocks, **asdict(costs)}))
        return 0
    height, width = size
    print(f"{recipe.name}: one image of {height}x{width} px, {proposals} proposals, {detections}")
    print("detections; in G multiply-adds, as if f were stored\n")
    rows = {
        "trunk, pyramid": costs.backbone,
        "proposals": costs.rpn,
        "head of boxes": costs.box_head,
        f"head of {recipe.model.task}": costs.task_head,
        "all": costs.multiply_adds,
        "N x M products among them": costs.pairwise,
    }
    for name, value in rows.items():
        print(f"{name:26} {value / 1e9:8.2f}")
    print(f"\n{'parameters, M':26} {costs.parameters / 1e6:8.2f}")
    print(f"{'non-local blocks after':26} {', '.join(_after(name) for name in blocks) or '-'}")
    return 0


def _after(block: str) -> str:
    return block.removeprefix("backbone.body.").removeprefix("roi_heads.").rpartition(".")[0]


def _clip(text: str) -> tuple[int, ...]:
    parts = text.split("x")
    if len(parts) != 3 or not all(part.isdecimal() for part in parts):
        raise ValueError(
            f"--clip takes frames x height x width, for example 32x224x224; got {text!r}"
        )
    return tuple(int(part) for part in parts)


def _table(costs) -> list[str]:
    lines = [
        f"{'':16}  {'parameters, M':^17}  {'multiply-adds, G':^20}",
        f"{'network':16}  {'all':>8} {'conv+fc':>8}  {'all':>9} {'w/o N x M':>10}  {'blocks':>6}",
    ]
    for name, cost in costs.items():
        without = cost.multiply_adds - cost.pairwise
        lines.append(
            f"{name:16}  {cost.parameters / 1e6:8.2f} {cost.weights / 1e6:8.2f}  "
            f"{cost.multiply_adds / 1e9:9.2f} {without / 1e9:10.2f}  {len(cost.blocks) or '-':>6}"
        )
    return lines


def _places(costs) -> list[str]:
    """After which residual blocks the non-local ones stand; the same for every family."""
    lines = []
    for name, cost in costs.items():
        stages: dict[str, list[str]] = {}
        for block, (positions, keys) in cost.blocks.items():
            stage, index, _ = block.split(".")
            stages.setdefault(f"{stage} {{}} ({positions} x {keys})", []).append(index)
        if stages:
            count, _, backbone = name.split("_")
            places = ", ".join(text.format(" ".join(at)) for text, at in stages.items())
            lines.append(f"{count + '_*_' + backbone:12} {places}")
    title = "Blocks stand after these residual blocks (N positions x M keys):"
    return [title, *dict.fromkeys(lines), ""] if lines else []


def _sizes(costs) -> list[str]:
    columns: dict[str, list[str]] = {}  # backbones of equal sizes side by side
    for name, cost in costs.items():
        sizes = "\n".join(_size(size) for size in cost.sizes.values())
        backbones = columns.setdefault(sizes, [])
        backbones += [b for b in [name.split("_")[-1]] if b not in backbones]
    heads = [", ".join(backbones) for backbones in columns.values()]
    rows = zip(*(sizes.split("\n") for sizes in columns), strict=True)
    layers = next(iter(costs.values())).sizes
    return [
        "Outputs, T x H x W x channels:",
        " " * 12 + "".join(f"{head:20}" for head in heads),
        *(
            f"{layer:12}" + "".join(f"{size:20}" for size in row)
            for layer, row in zip(layers, rows, strict=True)
        ),
    ]


def _check_json(checked) -> str:
    from nonlocalnet.models.paper import CLAIMS, TABLE_1

    claims = [
        {
            "what": claim.what.strip(),
            "paper": claim.paper,
            "ours": [setting.figures[i] for setting in checked],
            "holds": [claim.holds(setting.figures[i]) for setting in checked],
        }
        for i, claim in enumerate(CLAIMS)
    ]
    settings = [{"preset": s.preset, "stride_at": s.stride_at, "sizes": s.sizes} for s in checked]
    return json.dumps({"settings": settings, "table_1": TABLE_1, "claims": claims}, indent=1)


def _check_text(checked) -> str:
    from nonlocalnet.models.paper import CLAIMS, TABLE_1, WHY_TABLE_1

    notes: list[str] = []

    def mark(holds: list[bool], why: str) -> str:
        if all(holds):
            return ""
        if why not in notes:
            notes.append(why)
        return f"[{notes.index(why) + 1}]"

    presets = {setting.preset: setting for setting in checked}
    lines = [
        "Table 1: outputs for 32 frames of 224 x 224 px, T x H x W x channels",
        "",
        f"{'':8}{'paper':17}" + "".join(f"{'ours, ' + name:20}" for name in presets).rstrip(),
    ]
    for layer, size in TABLE_1.items():
        ours = [setting.sizes[layer] for setting in presets.values()]
        row = "".join(f"{_size(o) + ('' if o == size else ' *'):20}" for o in ours)
        note = mark([o == size for o in ours], WHY_TABLE_1)
        lines.append(f"{layer:8}{_size(size):17}{row} {note}".rstrip())
    lines += [
        "",
        "Table 2e, Sec. 5.1 and Sec. 3.3: ours by preset and place of a stage's stride",
        "",
        f"{'':28}{'':>6}  " + "".join(f"{s.preset:>9}" for s in checked),
        f"{'':28}{'paper':>6}  " + "".join(f"{s.stride_at:>9}" for s in checked),
    ]
    for i, claim in enumerate(CLAIMS):
        ours = [setting.figures[i] for setting in checked]
        holds = [claim.holds(figure) for figure in ours]
        row = "".join(
            f"{figure:8.3f}{' ' if good else '*'}" for figure, good in zip(ours, holds, strict=True)
        )
        lines.append(f"{claim.what:28}{claim.paper:6}  {row} {mark(holds, claim.why)}".rstrip())
    lines += ["", "* does not round to the paper's figure. Why:", ""]
    for i, note in enumerate(notes):
        lines += textwrap.wrap(note, WIDTH, initial_indent=f"[{i + 1}] ", subsequent_indent=" " * 4)
    return "\n".join(lines)


def _size(size) -> str:
    return "x".join(map(str, size))
