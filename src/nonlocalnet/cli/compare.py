"""`nonlocalnet compare A.json B.json`: is the second test really better than the first?"""

import json

HELP = """Differences of two tests' figures, B - A, with 95 % intervals over their common videos.

Tests with unlike protocols are refused, and the fields that differ are named.
Example: nonlocalnet compare runs/c2d/results.json runs/nl5/results.json"""


def add_arguments(parser) -> None:
    """Options of the command."""
    parser.add_argument("a", type=str, help="a results.json")
    parser.add_argument("b", type=str, help="another, of the same videos")
    parser.add_argument(
        "--allow",
        type=str,
        default="",
        help="fields of the protocol that may differ, as frames,stride: those you compare",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the bootstrap")
    parser.add_argument("--json", action="store_true", help="print the differences as JSON")


def run(options) -> int:
    """Prints a line for each figure."""
    from nonlocalnet.engine.compare import compare
    from nonlocalnet.engine.statistics import read_results

    allow = [name.strip() for name in options.allow.split(",") if name.strip()]
    found = compare(
        read_results(options.a), read_results(options.b), allow=allow, seed=options.seed
    )
    if options.json:
        print(json.dumps(found))
        return 0
    if found["allowed"]:
        print(f"the protocols differ in {', '.join(found['allowed'])}, as allowed")
    print(f"{'':<14} {'A':>8} {'B':>8} {'B - A':>8}   95 % interval, percentage points")
    for name, row in found["figures"].items():
        low, high = (100 * value for value in row["interval"])
        print(
            f"{name:<14} {100 * row['a']:6.2f} % {100 * row['b']:6.2f} % "
            f"{100 * row['difference']:+8.2f}   {low:+.2f} to {high:+.2f}"
            f"{'' if low <= 0 <= high else '  *'}"
        )
    print(
        "* the interval leaves out 0"
        if any(
            not row["interval"][0] <= 0 <= row["interval"][1] for row in found["figures"].values()
        )
        else "no interval leaves out 0: these videos do not tell the two apart"
    )
    left = [f"{found[key]} of {key[-1].upper()}" for key in ("only_a", "only_b") if found[key]]
    print(
        f"{found['videos']} videos that both tested"
        + (f"; left out, since the other file lacks them: {' and '.join(left)}" if left else "")
    )
    return 0
