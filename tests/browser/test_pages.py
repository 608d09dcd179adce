"""The watch over pages catches what it is for: errors, and requests that leave."""

import pytest

PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>t</title>
<meta name="viewport" content="width=device-width">
<link rel="icon" href="data:,"></head><body><p>light</p>%s</body></html>"""


@pytest.fixture
def write(tmp_path):
    def written(content):
        file = tmp_path / "page.html"
        file.write_text(PAGE % content, encoding="utf-8")
        return file

    return written


def test_a_quiet_page_has_its_size_and_scheme(pages, write):
    file = write("<style>@media (prefers-color-scheme: dark) { p { color: red } }</style>")
    page = pages.open(file, size="phone", scheme="dark")
    assert page.evaluate("innerWidth") == 390
    assert page.evaluate("navigator.maxTouchPoints") > 0
    assert page.evaluate("getComputedStyle(document.querySelector('p')).color") == "rgb(255, 0, 0)"
    assert pages.requests == [file.as_uri()]
    assert pages.picture(page, "watch").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    "script", ["throw new Error('broken')", "console.error('broken')"], ids=["thrown", "logged"]
)
def test_errors_are_noted(pages, write, script):
    pages.open(write(f"<script>{script}</script>")).wait_for_timeout(50)
    assert len(pages.errors) == 1
    assert "broken" in pages.errors.pop()


@pytest.mark.parametrize(
    "content",
    [
        "<img src='https://example.org/a.png' alt=''>",
        "<script>fetch('https://example.org/b').catch(() => 0)</script>",
        "<link rel='stylesheet' href='https://example.org/c.css'>",
    ],
    ids=["picture", "fetch", "stylesheet"],
)
def test_requests_that_leave_are_noted_and_stopped(pages, write, content):
    page = pages.open(write(content))
    page.wait_for_timeout(100)
    assert len(pages.left()) == 1
    pages.requests.clear()
    pages.errors.clear()  # Chromium logs that it was stopped
