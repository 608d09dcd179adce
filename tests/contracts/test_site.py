"""The site is built, strictly (the fixture `site`), and asks for nothing outside its own folder."""

import doctest
import importlib.util
import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

ROOT = Path(__file__).parents[2]
LOADED = re.compile(r"<(?:script|img|iframe|source)\b[^>]*?\bsrc=[\"']?([^\"' >]+)|<link\b[^>]*>")
HREF = re.compile(r"\bhref=[\"']?([^\"' >]+)")
HERE = re.compile(r"<a\b[^>]*?\bhref=\"([^\"#]*)(?:#([^\"]*))?\"")


def test_the_examples_of_the_hooks_run():
    spec = importlib.util.spec_from_file_location("hooks", ROOT / "docs" / "tools" / "hooks.py")
    hooks = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(hooks)
    assert doctest.testmod(hooks) == (0, 1)


@pytest.fixture(scope="module")
def pages(site):
    return {path: path.read_text(encoding="utf-8") for path in site.rglob("*.html")}


def test_every_page_of_the_repository_is_a_page_of_the_site(pages, site):
    names = {path.relative_to(site).with_suffix("").as_posix().lower() for path in pages}
    assert {path.stem.lower() for path in ROOT.glob("docs/*.md")} <= names
    assert {"index", "contributing", "changelog", "security"} <= names


def test_every_module_is_in_the_reference(pages, site):
    text = "".join(html for path, html in pages.items() if path.parent.name == "reference")
    for path in (ROOT / "src" / "nonlocalnet").rglob("*.py"):
        if not path.name.startswith("__"):
            dotted = ".".join(path.relative_to(ROOT / "src").with_suffix("").parts)
            assert f'id="{dotted}"' in text, dotted


def test_nothing_is_fetched_from_elsewhere(pages, site):
    """Scripts, styles, fonts and pictures are files of the site; only links for people go out."""
    for path, html in pages.items():
        for found in LOADED.finditer(html):
            link = HREF.search(found[0])
            target = found[1] or (link[1] if link else "")
            assert not target.startswith(("http:", "https:", "//")), f"{path.name}: {target}"
            if not target.startswith("data:") and path.name != "404.html":
                assert (path.parent / unquote(urlsplit(target).path)).exists(), target
    for path in site.rglob("*.css"):
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"(?:url\(|@import)\s*[\"']?(?:https?:)?//", text), path


def test_links_lead_to_pages_and_places(pages, site):
    """As MkDocs checks them, but on what it wrote, the pages made from docstrings included."""
    places = {path: set(re.findall(r"\bid=\"([^\"]+)\"", html)) for path, html in pages.items()}
    for path, html in pages.items():
        if path.name == "404.html":
            continue
        for target, place in HERE.findall(html):
            if urlsplit(target).scheme:
                continue
            file = (path.parent / unquote(target)).resolve() if target else path
            assert file.exists(), f"{path.name}: {target}"
            if place and file in places:
                assert unquote(place) in places[file], f"{path.name}: {target}#{place}"
