"""`nonlocalnet explain`: Figures 1 and 3 for one position of one video, and the explorer page."""

import json
from pathlib import Path
from typing import Literal

HELP = """Show where the network looked: arrows over frames, heat, a moving picture, a page.

Example: nonlocalnet explain clip.mp4 --model runs/mine --at 1.5,160,120 --out arrows.png
Example: nonlocalnet explain clip.mp4 --model runs/mine --page clip.html"""

PICTURES = (".png", ".svg", ".pdf")
MOVING = (".mp4", ".gif")


def add_arguments(parser) -> None:
    """Options of the command."""
    parser.add_argument("file", type=str, help="a video")
    parser.add_argument("--model", type=str, required=True, help="a run folder or a model file")
    parser.add_argument(
        "--at", type=str, help="t,x,y: seconds and px in the video; default: its middle"
    )
    parser.add_argument(
        "--block",
        type=str,
        help="non-local blocks by name, commas between, or all; default: one "
        "in res3, and for --page all",
    )
    parser.add_argument("--top", type=int, default=20, help="arrows")
    parser.add_argument(
        "--clips",
        type=int,
        default=1,
        help="average the picture over so many clips that hold the position; the page plays one",
    )
    parser.add_argument(
        "--out",
        type=str,
        help="PNG, SVG, PDF, MP4 or GIF; default: explain.png, or none with --page",
    )
    parser.add_argument(
        "--view", type=Literal["arrows", "heat", "both"], default="arrows", help="what to draw"
    )
    parser.add_argument(
        "--style", type=Literal["row", "cascade"], default="row", help="as Figure 3, or as Figure 1"
    )
    parser.add_argument("--panels", type=int, default=4, help="frames in the picture")
    parser.add_argument("--page", type=str, help="write the explorer, one HTML file, there")
    parser.add_argument(
        "--faithful",
        action="store_true",
        help="does hiding these places cost more of the score than hiding random ones?",
    )
    parser.add_argument("--reader", type=str, help="pyav, torchcodec or opencv; default: the first")
    parser.add_argument("--json", action="store_true", help="print the arrows as JSON")


def run(options) -> int:
    """Writes the picture or the page and says what is on it."""
    from nonlocalnet.engine.classifier import load
    from nonlocalnet.engine.explain import choose_blocks, explain
    from nonlocalnet.engine.faithful import faithfulness

    at = None if options.at is None else _position(options.at)
    out = options.out or (None if options.page else "explain.png")
    _check(options, out)
    classifier = load(options.model)
    block = options.block
    if block and block != "all":
        block = [name.strip() for name in block.split(",")]
    one = options.style == "cascade" or (out is not None and Path(out).suffix.lower() in MOVING)
    hosts = choose_blocks(classifier.model, block)
    if one and len(hosts) > 1:
        raise ValueError(
            f"a cascade, an MP4 and a GIF show one block, got {', '.join(hosts)}; "
            "choose one with --block"
        )
    found = explain(
        classifier,
        options.file,
        at=at,
        block=hosts,
        top=options.top,
        clips=options.clips,
        reader=options.reader,
    )
    if out:
        _draw(found, Path(out), options)
    if options.page:
        from nonlocalnet.recipes.explorer import write_page

        write_page(
            classifier,
            options.file,
            options.page,
            at=at,
            block=block or "all",
            top=options.top,
            reader=options.reader,
        )
    faithful = faithfulness(classifier, found.frames, found.look) if options.faithful else None
    written = [name for name in (out, options.page) if name]
    if options.json:
        told = found.as_dict() | {"written": written}
        if faithful:
            told["faithful"] = {
                "label": faithful.label,
                "places": faithful.places,
                "keys": faithful.keys,
                "drop_attended": faithful.attended,
                "drops_random": list(faithful.chance),
            }
        print(json.dumps(told))
        return 0
    print(f"{found.describe()}; written to {' and '.join(written)}")
    if faithful:
        print(faithful.describe())
    return 0


def _position(text: str) -> tuple[float, float, float]:
    try:
        t, x, y = (float(part) for part in text.split(","))
    except ValueError:
        raise ValueError(
            f"--at takes t,x,y (seconds, px, px), for example 1.5,160,120; got {text!r}"
        ) from None
    return t, x, y


def _check(options, out: str | None) -> None:
    """Says what cannot be before anything is computed."""
    if out and Path(out).suffix.lower() not in PICTURES + MOVING:
        raise ValueError(
            f"--out takes {', '.join(PICTURES + MOVING)}, got {out!r}; the explorer is --page"
        )
    moving = out is not None and Path(out).suffix.lower() in MOVING
    if options.style == "cascade" and (moving or options.view != "arrows"):
        raise ValueError(
            f"--style cascade draws arrows in one picture, got --out {out} and --view "
            f"{options.view}; leave --style out"
        )
    if options.panels < 1:
        raise ValueError(f"--panels must be 1 or more, got {options.panels}")
    if options.faithful and options.clips > 1:
        raise ValueError(
            f"--faithful hides places of one clip, got --clips {options.clips}; leave one out"
        )


def _draw(found, out: Path, options) -> None:
    from nonlocalnet.files import replacing
    from nonlocalnet.viz.arrows import draw_arrows
    from nonlocalnet.viz.cascade import draw_cascade

    if out.suffix.lower() in MOVING:
        with replacing(out) as part:
            _write_moving(found, part, options.view)
    elif options.style == "cascade":
        draw_cascade(found.frames, found.look, out, panels=options.panels)
    else:
        draw_arrows(found.frames, found.looks, out, view=options.view, panels=options.panels)


def _write_moving(found, path: Path, view: Literal["arrows", "heat", "both"]) -> None:
    import numpy as np

    from nonlocalnet.data.writing import write_frames
    from nonlocalnet.viz.moving import FPS, moving_arrows

    pictures = list(moving_arrows(found.frames, found.seconds, found.look, view=view))
    if path.suffix.lower() == ".mp4":
        write_frames(path, np.stack(pictures), FPS)
        return
    from PIL import Image

    images = [Image.fromarray(picture) for picture in pictures]
    images[0].save(path, save_all=True, append_images=images[1:], duration=1000 // FPS, loop=0)
