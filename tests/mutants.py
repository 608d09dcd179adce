"""Mutation test: changes one thing in a source file at a time and asks whether the tests notice.

    python tests/mutants.py src/nonlocalnet/ops/exact.py tests/ops tests/nn/test_equation.py

A mutant is a place in the syntax tree with one of: another constant, comparison, operator or
bound, a condition that always or never holds, a call left out. Each runs in a fork of a process
that has torch loaded, quickest tests first, until one fails. Prints the survivors; add --count and
--seed for a random part of the mutants.
"""

import argparse
import ast
import contextlib
import copy
import io
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.machinery import SourceFileLoader
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
SWAPS: dict[type, type] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq, ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.Mod: ast.Add,
    ast.FloorDiv: ast.Mult, ast.Pow: ast.Mult, ast.And: ast.Or, ast.Or: ast.And,
}  # fmt: skip
NAMES = {"min": "max", "max": "min", "any": "all", "all": "any"}
SURVIVED, NO_TESTS = 0, 5  # pytest's own statuses
Change = Callable[[Any], None]
Place = tuple[str, int, Change]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path)
    parser.add_argument("tests", nargs="+")
    parser.add_argument("--count", type=int)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    os.chdir(ROOT)
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    # What each fork then has; the last one takes torch 3 s when it is first needed.
    for module in ("hypothesis.strategies", "numpy", "torch.fx.experimental.symbolic_shapes"):
        __import__(module)
    tree = ast.parse(given.source.read_text(encoding="utf-8"))
    found = list(places(tree))
    chosen = random.Random(given.seed).sample(found, given.count) if given.count else found
    # Its examples too; by folder, as pytest loads a file that it is given by itself its own way.
    tests = [str(given.source.parent), *given.tests]
    order = Order()
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        order.file = Path(folder) / "seconds"
        if killed(given.source, tree, tests, order, limit=3600):
            sys.exit("the tests fail with nothing changed; run them by themselves first")
        order.seconds = json.loads(order.file.read_text(encoding="utf-8"))
        order.file = None
    limit = 30 + 3 * (time.monotonic() - began)
    survivors = []
    for done, (what, at, change) in enumerate(chosen, start=1):
        mutant = copy.deepcopy(tree)
        change(next(islice(ast.walk(mutant), at, None)))
        ast.fix_missing_locations(mutant)
        if not killed(given.source, mutant, tests, order, limit):
            survivors.append(what)
            print(f"survived: {given.source.name} {what}", flush=True)
        if sys.stderr.isatty():
            print(f"{done} of {len(chosen)}", end="\r", file=sys.stderr)
    dead = len(chosen) - len(survivors)
    print(f"{given.source}: {dead} of {len(chosen)} killed ({len(found)} in all)", flush=True)


class Order:
    """A plugin that runs tests in the order of the time they took; writes it down if asked to."""

    seconds: dict[str, float] = {}  # noqa: RUF012
    file: Path | None = None

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.seconds[report.nodeid] = self.seconds.get(report.nodeid, 0.0) + report.duration

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items.sort(key=lambda item: self.seconds.get(item.nodeid, 0.0))

    def pytest_sessionfinish(self) -> None:
        if self.file:
            self.file.write_text(json.dumps(self.seconds), encoding="utf-8")


def killed(source: Path, mutant: ast.Module, tests: list[str], order: Order, limit: float) -> bool:
    """Whether a test fails, or never ends, with the mutant in place of the source."""
    if not (child := os.fork()):
        os.setsid()
        signal.alarm(int(limit))
        code, real = compile(mutant, source, "exec"), SourceFileLoader.get_code
        target = str(source.resolve())
        SourceFileLoader.get_code = lambda self, name: (  # pyright: ignore
            code if self.path == target else real(self, name)
        )
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            quiet = [
                "-x",
                "-q",
                "-p",
                "no:cacheprovider",
                "-p",
                "no:faulthandler",
                "--assert=plain",
            ]
            status = pytest.main([*quiet, *tests], plugins=[order])
        os._exit(status)
    _, status = os.waitpid(child, 0)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    assert not os.WIFEXITED(status) or os.WEXITSTATUS(status) != NO_TESTS
    return status != SURVIVED


def places(tree: ast.Module) -> Iterator[Place]:
    """Every change that could be made: its line, in words; the node, as `ast.walk` counts; how."""
    spared: set[ast.AST] = set()  # types and texts
    for at, node in enumerate(ast.walk(tree)):
        for part in ("annotation", "returns"):
            spared.update(ast.walk(getattr(node, part, None) or ast.Pass()))
        if isinstance(node, ast.JoinedStr):
            spared.update(ast.walk(node))
        if node not in spared:
            for what, change in changes(node):
                yield f"line {node.lineno}: {what}", at, change  # pyright: ignore


def changes(node: Any) -> Iterator[tuple[str, Change]]:
    """What could be changed at one node."""
    match node:
        case ast.Constant(value=bool(value)):
            yield f"{value} to {not value}", put("value", not value)
        case ast.Constant(value=int() | float() as value):
            yield f"{value} to {value + 1}", put("value", value + 1)
        case ast.Constant(value=str(value)) if " " not in value:
            yield f"{value!r} to another", put("value", value + "X")
        case ast.UnaryOp(op=ast.Not() | ast.USub(), operand=operand):
            yield (
                f"{ast.unparse(node)} without its sign",
                put("operand", ast.UnaryOp(node.op, operand)),
            )
        case ast.BinOp(op=op) | ast.BoolOp(op=op) | ast.AugAssign(op=op) if type(op) in SWAPS:
            yield f"another operator in {ast.unparse(node)}", put("op", SWAPS[type(op)]())
        case ast.Compare(ops=[op]) if type(op) in SWAPS:
            yield f"another comparison in {ast.unparse(node)}", put("ops", [SWAPS[type(op)]()])
        case ast.Name(id=name) if name in NAMES:
            yield f"{name} to {NAMES[name]}", put("id", NAMES[name])
        case ast.Expr(value=ast.Call()):
            yield f"without {ast.unparse(node)}", put("value", ast.Constant(None))
        case ast.If(test=test) | ast.IfExp(test=test) | ast.While(test=test):
            for value in (True, False):
                yield f"{ast.unparse(test)} always {value}", put("test", ast.Constant(value))


def put(part: str, value: object) -> Change:
    return lambda node: setattr(node, part, value)


if __name__ == "__main__":
    main()
