"""A real browser for the pages that we write: Debian's Chromium, driven by Playwright.

A test asks `pages` for a page, drives it, and leaves pictures in screenshots/. When it is over, a
page that has logged an error or has asked for anything outside this machine fails the test.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

SCREENSHOTS = Path(__file__).parents[2] / "screenshots"  # not in git
SIZES = {"desktop": (1280, 800), "phone": (390, 844)}  # px of the window
QUIET = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"]
QUIET += ["--disable-background-networking", "--disable-component-update"]
HOME = {"127.0.0.1", "localhost"}
INLINE = {"data", "blob", "about"}


class Pages:
    """Opens pages of one test and notes what they say and ask for."""

    def __init__(self, browser) -> None:
        self.browser = browser
        self.errors: list[str] = []
        self.requests: list[str] = []
        """Everything asked for, but what is inlined in the page."""
        self.contexts: list = []

    def open(self, url: str | Path, size: str = "desktop", scheme: str = "light"):
        """A page (playwright.sync_api.Page) on a file or an address; a phone has touch.

        `size` is one of SIZES, `scheme` light or dark.
        """
        width, height = SIZES[size]
        phone = size == "phone"
        context = self.browser.new_context(
            viewport={"width": width, "height": height},
            color_scheme=scheme,
            has_touch=phone,
            is_mobile=phone,
            device_scale_factor=2 if phone else 1,
        )
        self.contexts.append(context)
        context.set_default_timeout(20_000)  # ms
        context.route("**/*", self._only_home)
        page = context.new_page()
        self.watch(page)
        page.goto(Path(url).absolute().as_uri() if isinstance(url, Path) else url)
        return page

    def watch(self, page) -> None:
        """Notes the errors of a page; of one that a page has opened, from now on."""
        page.on("console", self._note)
        page.on("pageerror", lambda error: self.errors.append(f"uncaught: {error}"))

    def picture(self, page, name: str, *, whole: bool = True) -> Path:
        """Writes screenshots/NAME.png of the whole page, or of what the window shows."""
        SCREENSHOTS.mkdir(exist_ok=True)
        file = SCREENSHOTS / f"{name}.png"
        page.screenshot(path=file, full_page=whole)
        return file

    def left(self) -> list[str]:
        """Requests that were meant for another machine (none of them got there)."""
        return [url for url in self.requests if not _at_home(url)]

    def close(self) -> None:
        """Closes every page of the test."""
        for context in self.contexts:
            context.close()

    def _only_home(self, route) -> None:
        url = route.request.url
        if urlsplit(url).scheme not in INLINE:
            self.requests.append(url)
        if _at_home(url):
            route.continue_()
        else:
            route.abort()

    def _note(self, message) -> None:
        if message.type == "error":
            self.errors.append(message.text)


@pytest.fixture(scope="package")
def browser() -> Iterator:
    """One Chromium for all tests of this folder."""
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="playwright is not installed; it drives the browser"
    )
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("no Chromium on this machine; on Debian: apt-get install chromium")
    with playwright.sync_playwright() as driver:
        running = driver.chromium.launch(executable_path=chromium, args=QUIET)
        yield running
        running.close()


@pytest.fixture
def pages(browser) -> Iterator[Pages]:
    """Pages of one test; at its end none may have logged an error or asked outside."""
    opened = Pages(browser)
    yield opened
    opened.close()
    assert opened.errors == []
    assert opened.left() == []


def _at_home(url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme in INLINE | {"file"} or parts.hostname in HOME
