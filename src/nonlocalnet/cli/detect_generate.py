"""`nonlocalnet detect generate DIR`: a set in COCO's layout that a CPU can learn."""

HELP = """Write a generated set in COCO's layout: shapes and people of 128 px, with occlusion.

Context matters: a disc with another disc beside it is a twin, and only the face tells which hand of
a person is the left one.

Example: nonlocalnet detect generate shapes/"""


def add_arguments(parser) -> None:
    """Options of the command."""
    parser.add_argument("folder", type=str, help="where to; made when absent")
    parser.add_argument("--train", type=int, default=1000, help="images of train2017")
    parser.add_argument("--val", type=int, default=200, help="images of val2017")
    parser.add_argument("--seed", type=int, default=0, help="of everything drawn")


def run(options) -> int:
    """Writes the set."""
    from nonlocalnet.data.coco_shapes import write_shapes

    if min(options.train, options.val) < 1:
        raise ValueError(f"a split needs 1 image or more, got {options.train} and {options.val}")
    root = write_shapes(options.folder, options.train, options.val, options.seed)
    print(f"{root}: {options.train} images in train2017, {options.val} in val2017")
    print(f"train on them: nonlocalnet detect train {root} --recipe nl1_tiny_mask_rcnn")
    return 0
