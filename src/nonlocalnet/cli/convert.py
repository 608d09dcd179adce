"""`nonlocalnet convert`: weights of other projects into a model file of ours, and back."""

import json
from pathlib import Path

HELP = """Turn a checkpoint of another project into a model file, or a model file into theirs.

Reads the released Caffe2 pickles, PySlowFast, mmaction2, pytorchvideo and gluon-cv (docs/weights.md
says which files and where they are); nothing inside a file is run.

Example: nonlocalnet convert i3d_nonlocal_32x2_IN_pretrain_400k.pkl nl_i3d.safetensors"""


def add_arguments(parser) -> None:
    """Options of the command."""
    parser.add_argument("src", type=str, help="a checkpoint, or a model file with --to")
    parser.add_argument("dst", type=str, help="the file to write")
    parser.add_argument("--to", type=str, default="nonlocalnet", help="or slowfast, or mmaction2")
    parser.add_argument("--source", type=str, default="auto", help="whose names; auto finds out")
    parser.add_argument("--labels", type=str, help="class names, one per line; 400: Kinetics'")
    parser.add_argument("--clip", type=str, help="FRAMESxSTRIDE it was trained on, as 32x2")
    parser.add_argument("--preset", type=str, help="layout of the network, if the file misleads")
    parser.add_argument("--kind", type=str, help="of the blocks, as dot_product, if not said")
    parser.add_argument("--json", action="store_true", help="print what became of every tensor")


def run(options) -> int:
    """Writes the file and says what was done."""
    from dataclasses import asdict

    from nonlocalnet.weights.convert import convert, convert_back

    said = {"preset": options.preset, "kind": options.kind}
    said = {name: value for name, value in said.items() if value is not None}
    foreign = {**said, "labels": options.labels, "clip": options.clip}
    if options.to != "nonlocalnet":
        if useless := [f"--{name}" for name, value in foreign.items() if value is not None]:
            raise ValueError(f"{', '.join(useless)} belong to reading; drop them with --to")
        notes = convert_back(options.src, options.dst, options.to)
        result, lines = {"notes": notes}, [f"note: {note}" for note in notes]
    else:
        report = convert(
            options.src,
            options.dst,
            source=options.source,
            labels=_labels(options.labels),
            clip=_clip(options.clip),
            **said,
        )
        result, lines = asdict(report), [str(report)]
    if options.json:
        print(json.dumps({"file": options.dst, **result}))
    else:
        print("\n".join([*lines, f"written to {options.dst}"]))
    return 0


def _labels(path: str | None) -> list[str] | None:
    if path is None:
        return None
    from nonlocalnet.data.tables import read_lines

    if not Path(path).is_file():
        raise ValueError(f"--labels {path}: no such file; give one with a class name per line")
    return [text.strip() for _, text in read_lines(Path(path)) if text.strip()]


def _clip(text: str | None) -> tuple[int, int] | None:
    from nonlocalnet.data.clips import ClipConfig

    if text is None:
        return None
    frames, cross, stride = text.partition("x")
    if not (cross and frames.isdecimal() and stride.isdecimal()):
        raise ValueError(f"--clip takes FRAMESxSTRIDE, as 32x2; got {text!r}")
    clip = ClipConfig(frames=int(frames), stride=int(stride))
    return clip.frames, clip.stride
