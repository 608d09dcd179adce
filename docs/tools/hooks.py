"""What MkDocs needs to make a site of files that also read well where they lie.

Pages that stand in the repository's root are pages of the site, links to the code lead to the
reference, and the reference has a page for each floor: nothing of it is written twice.
"""

import ast
import re
from pathlib import Path

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "nonlocalnet"
ROOT_PAGES = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "SECURITY.md": "security.md",
}
PAGE = re.compile(r"\[(?:docs/)?[\w-]+\.md\]\((?P<target>(?P<page>[\w-]+\.md)(?:#[\w-]+)?)\)")
CODE = re.compile(r"\]\((?:\.\./)?src/(?P<module>nonlocalnet[\w/]*)\.py(?:#(?P<name>[\w.]+))?\)")


def on_files(files: Files, config) -> Files:
    """Adds the pages that are not in docs/."""
    for source, target in ROOT_PAGES.items():
        text = (ROOT / source).read_text(encoding="utf-8").replace("](docs/", "](")
        files.append(File.generated(config, target, content=text))
    for target, text in reference().items():
        files.append(File.generated(config, f"reference/{target}", content=text))
    return files


def on_page_markdown(markdown: str, files: Files, **_) -> str:
    """Links to the code lead to its entry in the reference; pages are called by their titles."""
    for source, target in ROOT_PAGES.items():
        markdown = markdown.replace(f"]({source}", f"]({target}")

    def titled(found: re.Match) -> str:
        page = files.get_file_from_path(found["page"])
        title = page.content_string.partition("\n")[0].lstrip("# ") if page else found["page"]
        return f"[{title}]({found['target']})"

    return CODE.sub(
        lambda found: f"][{identifier(**found.groupdict())}]", PAGE.sub(titled, markdown)
    )


def identifier(module: str, name: str | None) -> str:
    """The Python name that a link to a file means.

    Example:
        >>> identifier("nonlocalnet/ops/pairwise", "nonlocal_weights")
        'nonlocalnet.ops.pairwise.nonlocal_weights'
    """
    dotted = module.removesuffix("/__init__").replace("/", ".")
    return f"{dotted}.{name}" if name else dotted


def reference() -> dict[str, str]:
    """Markdown by file: the public names, the commands, and the modules of each floor."""
    pages = {"index.md": public_names(), "commands.md": commands()}
    for floor in sorted(path.parent for path in PACKAGE.glob("*/__init__.py")):
        lines = [f"# {floor.name}", docstring(floor / "__init__.py")]
        for path in sorted(floor.rglob("*.py")):
            if path.name != "__init__.py":
                dotted = ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
                lines.append(f"::: {dotted}")
        pages[f"{floor.name}.md"] = "\n\n".join(lines)
    below = [path.stem for path in sorted(PACKAGE.glob("*.py")) if not path.stem.startswith("_")]
    pages["index.md"] += "\n\n## Below all floors\n\n"
    pages["index.md"] += "\n\n".join(f"::: nonlocalnet.{name}" for name in below)
    return pages


def public_names() -> str:
    """What `import nonlocalnet as nln` offers, as a table."""
    homes = constant(PACKAGE / "__init__.py", "_HOME")
    lines = [
        "# Public names",
        "`import nonlocalnet as nln`, then:",
        "| name | |\n|---|---|",
    ]
    for name, module in homes.items():
        path = PACKAGE / f"{module.replace('.', '/')}.py"
        first = docstring(path, name).splitlines()[0]
        lines[-1] += f"\n| [`nln.{name}`][nonlocalnet.{module}.{name}] | {first} |"
    return "\n\n".join(lines)


def commands() -> str:
    """What each command says of itself."""
    lines = ["# Commands", "Every one has `--help`, which lists its options."]
    for name, words in constant(PACKAGE / "cli" / "main.py", "COMMANDS").items():
        said = constant(PACKAGE / "cli" / f"{name.replace('-', '_')}.py", "HELP")
        lines += [f"## nonlocalnet {name}", f"{words[0].upper()}{words[1:]}.", f"```\n{said}\n```"]
    return "\n\n".join(lines)


def constant(path: Path, name: str):
    """The value of a literal at the top of a module."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == name:
            return ast.literal_eval(node.value)
    raise ValueError(f"{path}: no {name}; the site's reference is made from it")


def docstring(path: Path, name: str | None = None) -> str:
    """Of a module, or of a function or class in it."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    node = tree if name is None else next(n for n in tree.body if getattr(n, "name", "") == name)
    return ast.get_docstring(node) or ""
