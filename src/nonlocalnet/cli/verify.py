"""`nonlocalnet verify`: does a model file still answer as when it was written?"""

import json

HELP = """Run a model file's probe again: a seeded input, and what it gave when written.

Networks of videos answer with their logits, detectors with what each of their parts gives.

Example: nonlocalnet verify nl_i3d.safetensors"""

TOLERANCE = 1e-4


def add_arguments(parser) -> None:
    """Options of the command."""
    parser.add_argument("file", type=str, help="a model file")
    parser.add_argument("--json", action="store_true", help="machine-readable output")


def run(options) -> int:
    """Prints the largest difference; above 1e-4 the file is not what was written."""
    from nonlocalnet.weights.convert import verify

    difference = verify(options.file)
    if not difference <= TOLERANCE:
        raise ValueError(
            f"{options.file}: its outputs differ by {difference:.2g} from those when it was "
            f"written, {TOLERANCE:g} is allowed; the file is damaged, convert or train it again"
        )
    if options.json:
        print(json.dumps({"file": options.file, "difference": difference}))
    else:
        print(f"{options.file}: as when it was written (outputs differ by {difference:.1g})")
    return 0
