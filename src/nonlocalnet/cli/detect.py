"""`nonlocalnet detect train | test | predict`: COCO boxes, masks and keypoints (Sec. 6)."""

HELP = """Detectors with non-local blocks, on data in COCO's layout: boxes, masks, keypoints.

  detect train DIR --recipe NAME    a row of Table 5 or 6, or a small one for CPUs
  detect test RUN --data DIR        average precision, all columns of the tables
  detect predict IMAGE --model RUN  draw what is found, or where a block looks
  detect generate DIR               write a generated set of shapes and people

Each has its own --help.

Example: nonlocalnet detect generate shapes/"""

PARTS = ("train", "test", "predict", "generate")


def add_arguments(parser) -> None:
    """None: the word that follows is a command of its own."""
    parser.add_argument("part", type=str, help=f"one of {', '.join(PARTS)}")


def run(options) -> int:
    """Only reached with a word that is none of them."""
    raise ValueError(f"detect takes one of {', '.join(PARTS)}, got {options.part!r}")
