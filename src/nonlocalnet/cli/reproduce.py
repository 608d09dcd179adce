"""`nonlocalnet reproduce TABLE`: the paper's experiments, our figures beside its own."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Literal

from nonlocalnet.recipes.config import Machine

HELP = """Run the rows of one of the paper's tables, seed by seed, and print them beside the paper.

At --scale cpu every recipe is cut down by one function: narrower network, smaller clips, fewer
steps. Each finished run is a line of EVIDENCE/SET.jsonl, and what stands there is not run again; a
run that was killed goes on. --data is a labelled folder, or longrange or longrange-labels for a set
that is generated. TABLE is 2a to 2g, 3 to 6, init, warp, or all; all runs the tables but init and
warp, which have settings of their own.

Example: nonlocalnet reproduce 2c --scale cpu --data ../shared/data/utd-mhad-depth
Another: nonlocalnet reproduce all --render"""


def add_arguments(parser) -> None:
    """Options of the command."""
    parser.add_argument("table", type=str, help="2a to 2g, 3 to 6, init, warp, or all")
    parser.add_argument("--scale", type=Literal["cpu", "full"], default="cpu", help="of the runs")
    parser.add_argument("--data", type=str, help="a folder, a list, longrange or longrange-labels")
    parser.add_argument("--init", type=str, default="", help="resnet50_thin.npz, for table init")
    parser.add_argument("--seeds", type=int, default=5, help="run seeds 0 .. SEEDS - 1")
    parser.add_argument("--only", type=str, help="recipe of one row; run even if EVIDENCE has it")
    parser.add_argument("--depth", type=Literal["r50", "r101"], help="only rows of this depth")
    parser.add_argument("--seed", type=int, help="only this seed")
    parser.add_argument("--out", type=str, default="runs/evidence", help="for the run folders")
    parser.add_argument(
        "--evidence", type=str, default="docs/evidence", help="the folder of the results files"
    )
    parser.add_argument(
        "--render", action="store_true", help="run nothing: draw, and write the page from the files"
    )
    parser.add_argument("--json", action="store_true", help="machine-readable output, no bars")
    parser.add_argument("--workers", type=int, default=1, help="processes that decode")


def run(options) -> int:
    """Runs what is missing, then prints the table; or renders what the files have."""
    from nonlocalnet.recipes.experiments import EXPERIMENTS, experiment_named

    names = list(EXPERIMENTS) if options.table == "all" else [options.table]
    for name in names:
        experiment_named(name)
    if options.render or not options.data:
        return _render(options, names)
    return _run(options, names)


def _run(options, names) -> int:
    from nonlocalnet.cli.progress import progress_bar
    from nonlocalnet.recipes.answers import markdown, runs_by_recipe
    from nonlocalnet.recipes.evidence import read_runs
    from nonlocalnet.recipes.experiments import EXPERIMENTS, depth, row_named
    from nonlocalnet.recipes.reproduce import open_bench, reproduce

    if options.seeds < 1:
        raise ValueError(f"--seeds must be 1 or more, got {options.seeds}")
    if options.table == "all" and options.only:
        raise ValueError("--only names a row of one table; give the table instead of all")
    if options.table != "all" and (reason := EXPERIMENTS[options.table].left_out):
        raise ValueError(f"table {options.table} has no row to run here: {reason}")
    say = (lambda text: None) if options.json else print
    seeds = range(options.seeds) if options.seed is None else [options.seed]
    chosen = {}
    for name in names:
        rows = EXPERIMENTS[name].recipes
        if options.table == "all" and EXPERIMENTS[name].scale is not None:
            continue
        if options.only:
            rows = [row_named(EXPERIMENTS[name], options.only)]
        chosen[name] = [r for r in rows if options.depth in (None, depth(r))]
    with progress_bar("preparing") as progress:
        bench = open_bench(
            options.data,
            full=options.scale == "full",
            out=Path(options.out),
            evidence=Path(options.evidence),
            machine=Machine(workers=options.workers),
            scale=EXPERIMENTS[names[0]].scale,
            init=options.init,
            say=say,
            progress=progress,
        )
    several = bench.folder.multi_label
    done = []
    for name, rows in chosen.items():
        fits = [r for r in rows if r.multi_label == several]
        if rows and not fits:
            kind = "several labels" if not several else "one label"
            say(f"Table {name} needs videos of {kind} each; {options.data} has others")
        done += reproduce(
            fits,
            seeds,
            bench,
            again=options.only is not None,
            say=say,
            progress=not options.json,
        )
    if options.json:
        print(json.dumps([asdict(run) for run in done]))
        return 0
    runs = runs_by_recipe(read_runs(bench.file))
    for name in chosen:
        print(f"\nTable {name}. {EXPERIMENTS[name].title}; {bench.name}\n")
        print(markdown(EXPERIMENTS[name], runs))
    print(f"\nkept in {bench.file}; nonlocalnet reproduce all --render writes the page")
    return 0


def _render(options, names) -> int:
    """Draws the tables that have runs; of all tables it writes the page, of one it prints it."""
    from nonlocalnet.files import write_atomically
    from nonlocalnet.recipes.answers import draw, markdown, page, ran, read_sets
    from nonlocalnet.recipes.experiments import EXPERIMENTS

    evidence = Path(options.evidence)
    sets = read_sets(evidence)
    written, texts = [], {}
    for name in names:
        experiment = EXPERIMENTS[name]
        found = ran(experiment, sets) or {"nothing yet": {}}
        texts[name] = {data: markdown(experiment, runs) for data, runs in found.items()}
        written += [draw(name, evidence, data, runs) for data, runs in found.items() if runs]
    if options.table == "all":
        written.insert(0, evidence.with_suffix(".md"))
        write_atomically(written[0], page(evidence, sets, texts).encode())
    if options.json:
        print(json.dumps({"written": [str(path) for path in written], "tables": texts}))
        return 0
    if options.table != "all":
        for data, text in texts[options.table].items():
            print(f"Table {options.table}. {EXPERIMENTS[options.table].title}; {data}\n\n{text}\n")
    for path in written:
        print(f"written: {path}")
    return 0
