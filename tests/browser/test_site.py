"""The site in a browser, opened from its folder: no server, no network."""

import pytest


@pytest.mark.parametrize("size", ["desktop", "phone"])
@pytest.mark.parametrize("name", ["index", "paper"])
def test_a_page_fits_its_window(pages, site, name, size):
    page = pages.open(site / f"{name}.html", size=size)
    page.locator("h1").wait_for()
    wide = page.evaluate("document.documentElement.scrollWidth - innerWidth")
    assert wide <= 0, "the page can be moved sideways"
    assert page.locator("article img").evaluate_all("all => all.every((i) => i.naturalWidth > 0)")
    pages.picture(page, f"site-{name}-{size}", whole=False)


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
