"""Draws docs/floors.svg: which floor of the package imports which, from the imports themselves.

A number says how many files of the row's floor import from the column's. Rows are sorted so that
all numbers lie left of the diagonal; where that is impossible two floors import each other.

Command  python docs/tools/floors.py
"""

import ast
from collections import defaultdict
from html import escape
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "nonlocalnet"
PICTURE = ROOT / "docs" / "floors.svg"

ROW, COLUMN, LEFT, TOP, EDGE = 36, 52, 330, 44, 14  # px
STYLE = """text { font: 13px system-ui, sans-serif; fill: #1c2530 }
.name { font-weight: 600; font-size: 15px }
.quiet { fill: #5b6672; font-size: 12px }
.count { fill: #fff; text-anchor: middle }
.middle { text-anchor: middle }"""


def imports(package: Path) -> dict[str, dict[str, int]]:
    """Floor -> floor it imports from -> number of its files that do."""
    floors = sorted(path.parent for path in package.glob("*/__init__.py"))
    names = {floor.name for floor in floors}
    found: dict[str, dict[str, int]] = {}
    for floor in floors:
        found[floor.name] = defaultdict(int)
        for path in floor.rglob("*.py"):
            for target in floors_of(path, package.name) & names - {floor.name}:
                found[floor.name][target] += 1
    return found


def floors_of(path: Path, package: str) -> set[str]:
    """The floors that a file imports from."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            names.add(node.module or "")
        elif isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
    return {name.split(".")[1] for name in names if name.startswith(f"{package}.")}


def from_the_top(found: dict[str, dict[str, int]]) -> list[str]:
    """Floors in an order in which each stands above all that it imports.

    Raises:
        ValueError: Two floors import each other.
    """
    order: list[str] = []
    left = sorted(found)
    while left:
        free = [floor for floor in left if not any(floor in found[other] for other in left)]
        if not free:
            raise ValueError(f"{', '.join(left)} import each other; imports must point down")
        # Of those that nobody left imports, the one that imports most stands highest.
        top = max(free, key=lambda floor: len(found[floor]))
        order.append(top)
        left.remove(top)
    return order


def picture(package: Path = PACKAGE) -> str:
    """The SVG."""
    found = imports(package)
    order = from_the_top(found)
    columns = order[::-1]
    width = LEFT + COLUMN * len(columns) + EDGE
    height = TOP + ROW * len(order) + EDGE
    most = max(count for row in found.values() for count in row.values())
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img">',
        "<title>Which floor imports which: all numbers lie left of the diagonal</title>",
        f"<style>{STYLE}</style>",
        f'<rect width="{width}" height="{height}" rx="8" fill="#f6f8fa"/>',
    ]
    for place, floor in enumerate(columns):
        x = LEFT + COLUMN * place + COLUMN // 2
        parts.append(f'<text class="quiet middle" x="{x}" y="{TOP - 14}">{floor}</text>')
    for line, floor in enumerate(order):
        top, words = TOP + ROW * line, docstring(package / floor)
        middle = top + ROW // 2
        parts += [
            f'<path d="M{EDGE} {top}H{width - EDGE}" stroke="#d8dee4"/>',
            f'<text class="name" x="{EDGE}" y="{middle + 5}">{floor}</text>',
            f'<text class="quiet" x="{EDGE + 78}" y="{middle + 5}">{escape(words)}</text>',
        ]
        for place, target in enumerate(columns):
            x = LEFT + COLUMN * place + COLUMN // 2
            if target == floor:
                side = ROW - 16
                parts.append(
                    f'<rect x="{x - side // 2}" y="{middle - side // 2}" width="{side}" '
                    f'height="{side}" rx="3" fill="#d8dee4"/>'
                )
            elif count := found[floor].get(target, 0):
                radius = round(9 + 6 * (count / most) ** 0.5)
                parts += [
                    f'<circle cx="{x}" cy="{middle}" r="{radius}" fill="#1f5fa8"/>',
                    f'<text class="count" x="{x}" y="{middle + 5}">{count}</text>',
                ]
    return "\n".join([*parts, "</svg>"]) + "\n"


def docstring(floor: Path) -> str:
    """What a floor says of itself, up to the colon."""
    tree = ast.parse((floor / "__init__.py").read_text(encoding="utf-8"))
    return (ast.get_docstring(tree) or "").partition(":")[0].partition(".")[0]


if __name__ == "__main__":
    PICTURE.write_text(picture(), encoding="utf-8")
