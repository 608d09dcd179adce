"""`nonlocalnet detect predict IMAGE`: what is in an image, and where a block looks."""

import json
from pathlib import Path

HELP = """Find boxes, and masks or keypoints, in one image, and draw them.

With --at x,y (px of the image) the picture shows instead the places that this position attends to
most in a non-local block of the trunk.

Example: nonlocalnet detect predict street.jpg --model runs/nl1_mask_rcnn_r50"""


def add_arguments(parser) -> None:
    """Options of the command."""
    parser.add_argument("image", type=str, help="an image file")
    parser.add_argument("--model", type=str, required=True, help="a run folder or a model file")
    parser.add_argument("--score", type=float, default=0.5, help="least score drawn and listed")
    parser.add_argument("--at", type=str, help="x,y in px: draw where this position looks")
    parser.add_argument("--block", type=str, help="which block, as layer3.4; default: the first")
    parser.add_argument("--out", type=str, help="picture; default: IMAGE-detected.png or -look.png")
    parser.add_argument("--json", action="store_true", help="machine-readable output")


def run(options) -> int:
    """Draws the picture and lists what was found."""
    from nonlocalnet.data.coco_sets import decode
    from nonlocalnet.engine.detect import detect
    from nonlocalnet.engine.detect_look import look_in_image
    from nonlocalnet.viz.arrows import draw_arrows
    from nonlocalnet.viz.detections import draw_detections
    from nonlocalnet.weights.detector import read_detector

    path = Path(options.image)
    if not path.is_file():
        raise ValueError(f"{path}: no such image; check the path")
    at = _position(options.at) if options.at else None
    file = read_detector(options.model)
    image = decode(str(path))
    found = detect(file.model, image).above(options.score)
    pixels = (image.permute(1, 2, 0) * 255).round().byte().numpy()
    out = Path(options.out or f"{path.stem}-{'look' if at else 'detected'}.png")
    names = [file.labels.get(int(label), str(label)) for label in found.labels]
    if at:
        look = look_in_image(file.model, image, at, block=options.block)
        draw_arrows(pixels[None], [look], out)
    else:
        draw_detections(pixels, found, names, out, skeleton=file.skeleton)
    rows = [
        {"label": name, "score": float(score), "box": [round(float(v), 1) for v in box]}
        for name, score, box in zip(names, found.scores, found.boxes, strict=True)
    ]
    if found.keypoints is not None:
        for row, points in zip(rows, found.keypoints, strict=True):
            row["keypoints"] = dict(zip(file.keypoints, points[:, :2].tolist(), strict=True))
    if options.json:
        print(json.dumps({"picture": str(out), "found": rows}))
        return 0
    for row in rows:
        print(f"{100 * row['score']:5.1f} %  {row['label']:16} {row['box']}")
    print(f"{len(rows)} found; drawn: {out}")
    return 0


def _position(text: str) -> tuple[float, float]:
    try:
        x, y = (float(part) for part in text.split(","))
    except ValueError:
        raise ValueError(f"--at takes x,y in px, as 120,80; got {text!r}") from None
    return x, y
