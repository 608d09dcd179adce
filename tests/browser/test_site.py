"""The site in a browser, opened from its folder: no server, no network."""

import pytest


@pytest.mark.parametrize("size", ["desktop", "phone"])
def test_pages_fit_their_window(pages, site, size):
    page = pages.open(site / "paper.html", size=size)
    pages.picture(page, f"site-{size}", whole=False)
    wide = [site / "index.html", site / "operation.html"]
    files = wide if size == "desktop" else sorted(set(site.glob("*.html")) - {site / "404.html"})
    for file in files:
        page.goto(file.as_uri())
        page.locator("h1").wait_for()
        over = page.evaluate("document.documentElement.scrollWidth - innerWidth")
        assert over <= 0, f"{file.name} can be moved sideways"
        pictures = page.locator("article img")
        assert pictures.evaluate_all("all => all.every((i) => i.naturalWidth > 0)"), file.name


def test_search_works_from_the_folder(pages, site):
    page = pages.open(site / "paper.html")
    box = page.get_by_role("textbox", name="Search")
    box.click()
    page.wait_for_function("typeof __index === 'object'")
    found = page.locator(".md-search-result__item a[href*='troubleshooting']").first
    for _ in range(20):  # until the index is made, what is typed finds nothing
        box.fill("")
        box.press_sequentially("camera stream")
        page.wait_for_timeout(500)
        if found.count():
            break
    found.click()
    assert "troubleshooting.html" in page.url
    assert page.locator("h1").inner_text().startswith("When something does not work")
