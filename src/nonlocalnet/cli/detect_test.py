"""`nonlocalnet detect test RUN --data DIR`: average precision on a split."""

import json
import os
from pathlib import Path

HELP = """Test a detector: average precision by IoU, size and detections, as COCO defines it.

Writes results.json (every figure with its protocol) and COCO's result files bbox.json and segm.json
or keypoints.json, as its evaluation server takes them.

Example: nonlocalnet detect test runs/nl1_mask_rcnn_r50 --data coco/"""


def add_arguments(parser) -> None:
    """Options of the command."""
    parser.add_argument("run", type=str, help="a run folder, or a model file of detect train")
    parser.add_argument("--data", type=str, required=True, help="the folder with annotations/")
    parser.add_argument("--split", type=str, default="val2017", help="as in file names")
    parser.add_argument("--images", type=int, help="only so many of the first images")
    parser.add_argument("--workers", type=int, default=1, help="processes that read ahead")
    parser.add_argument("--out", type=str, help="where results go; default: the run folder")
    parser.add_argument("--json", action="store_true", help="print the metrics as JSON")


def run(options) -> int:
    """Prints the figures in percent."""
    from nonlocalnet.cli.progress import progress_bar
    from nonlocalnet.data.coco import read_coco
    from nonlocalnet.engine.coco_ap import write_results
    from nonlocalnet.engine.detect import run_detector_test
    from nonlocalnet.engine.processes import join_processes
    from nonlocalnet.files import write_atomically
    from nonlocalnet.weights.detector import read_detector

    if options.images is not None and options.images < 1:
        raise ValueError(f"--images must be 1 or more, got {options.images}")
    model = read_detector(options.run).model
    split = read_coco(options.data, options.split, model.config["task"])
    join_processes()
    with progress_bar("testing") as progress:
        results, lists = run_detector_test(
            model, split, workers=options.workers, limit=options.images, progress=progress
        )
    if os.environ.get("RANK", "0") != "0":
        return 0
    out = Path(options.out or options.run)
    out = out.parent if out.is_file() else out
    for kind, entries in lists.items():
        write_atomically(out / f"{kind}.json", write_results(entries))
    write_atomically(out / "results.json", json.dumps(results, indent=1).encode())
    if options.json:
        print(json.dumps(results["metrics"]))
        return 0
    for name, value in results["metrics"].items():
        print(f"{'    -' if value is None else f'{100 * value:5.1f}'}  {name}")
    print(f"{results['protocol']['evaluated']} images; written: {out / 'results.json'}")
    return 0
