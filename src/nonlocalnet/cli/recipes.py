"""`nonlocalnet recipes`: the paper's tables, the recipe behind each row, and their rehearsal."""

import json
from dataclasses import asdict

HELP = """The paper's tables: what each row says, its recipe, and the published figures in percent.

With --check, every recipe (or the named ones) builds its full-size network, takes two training
steps and tests one view, on generated clips that are smaller than its own unless --full.

Example: nonlocalnet recipes --table 2c"""


def add_arguments(parser) -> None:
    """Options of the command."""
    parser.add_argument("names", type=str, nargs="*", help="recipes to check; default: all")
    parser.add_argument("--table", type=str, help="only this one: 2a to 2g, 3, 4, 5 or 6")
    parser.add_argument("--check", action="store_true", help="rehearse the recipes")
    parser.add_argument(
        "--full", action="store_true", help="rehearse on clips of full size; 24 GiB are enough"
    )
    parser.add_argument("--json", action="store_true", help="machine-readable output")


def run(options) -> int:
    """Prints the tables, or a line for each rehearsal."""
    from nonlocalnet.recipes.detection import DETECTION_TABLES
    from nonlocalnet.recipes.tables import TABLES, recipe_named

    if not options.check and (options.names or options.full):
        raise ValueError("names of recipes and --full belong to --check; add it")
    if options.table and options.names:
        raise ValueError("give names of recipes or --table, not both")
    known = TABLES if options.check else {**TABLES, **DETECTION_TABLES}
    if options.table not in (None, *known):
        raise ValueError(f"no table {options.table!r}; choose one of {', '.join(known)}")
    tables = {name: t for name, t in known.items() if options.table in (None, name)}
    if options.check:
        ours = [row.recipe for table in tables.values() for row in table.rows if row.recipe]
        names = options.names or dict.fromkeys(recipe.name for recipe in ours)
        return _check([recipe_named(name) for name in names], options.full, options.json)
    if options.json:
        print(json.dumps({name: _plain(table) for name, table in tables.items()}, indent=1))
        return 0
    print("\n\n".join("\n".join(_table(name, table)) for name, table in tables.items()))
    return 0


def _plain(table) -> dict:
    rows = [
        {
            "row": row.words,
            "recipe": row.recipe and row.recipe.name,
            "published": dict(row.published),
        }
        for row in table.rows
    ]
    return {"title": table.title, "rows": rows}


def _table(name: str, table) -> list[str]:
    """Title, heads and rows; systems of others have no recipe."""
    from nonlocalnet.recipes.tables import HEADS

    first = max(len(row.words) for row in table.rows)
    second = max(len(row.recipe.name) for row in table.rows if row.recipe)
    heads = "".join(f"{HEADS[column]:>8}" for column in table.columns)
    lines = [f"Table {name}. {table.title}", "", f"{'row':{first}}  {'recipe':{second}}{heads}"]
    for row in table.rows:
        recipe = row.recipe.name if row.recipe else "-"
        figures = [row.published.get(column) for column in table.columns]
        cells = "".join(f"{'-' if figure is None else figure:>8}" for figure in figures)
        lines.append(f"{row.words:{first}}  {recipe:{second}}{cells}")
    return lines


def _check(recipes, full: bool, as_json: bool) -> int:
    from nonlocalnet.recipes.rehearse import STEPS, rehearse_all

    if not as_json:
        size = "its own size, 1 per step" if full else "reduced size, 2 per step"
        print(f"{STEPS} steps and the test of one view on noise, clips of {size}; CPU, float32.")
        print("* activations are worked out again in the backward pass, to store less\n")
        print(
            f"{'recipe':30} {'begins with':17} {'clip':>11}  {'test':>7} {'M':>6} "
            f"{'losses':>11} {'s':>4} {'GiB':>5}"
        )
    for done in rehearse_all(recipes, full):
        if as_json:
            print(json.dumps(asdict(done)), flush=True)
            continue
        clip, view = "x".join(map(str, done.clip)), "x".join(map(str, done.view[1:]))
        mark = "*" if done.checkpointing else " "
        losses = " ".join(f"{loss:5.2f}" for loss in done.losses)
        print(
            f"{done.recipe:30} {done.begins:17} {clip:>11}{mark} {view:>7} "
            f"{done.parameters / 1e6:6.2f} {losses:>11} {done.seconds:4.0f} {done.peak_gib:5.2f}",
            flush=True,
        )
    return 0
