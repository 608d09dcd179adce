"""The web demo in a browser: drop a video, read the labels, see when, open the explorer."""

import re

import pytest
from brightness import picture
from servers import LABELS, ask, serving, write_model
from videos import write_video


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    folder = tmp_path_factory.mktemp("serve")
    model = write_model(folder / "m.safetensors")
    with serving(model, folder / "tmp", "--limits.megabytes", "2") as found:
        yield found


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """A real video whose name is a script, as far as a file may be called so."""
    name = "<img src=x onerror=alert(1)>.mp4"
    frames = [picture(30 <= n < 60, n) for n in range(90)]
    return write_video(tmp_path_factory.mktemp("clip") / name, frames)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", ["desktop", "phone"])
def test_a_video_gets_labels_a_timeline_and_the_explorer(pages, address, clip, size, scheme):
    page = pages.open(address, size, scheme)
    page.get_by_text("Up to 2 MB and 120 seconds").wait_for()
    pages.picture(page, f"serve-empty-{size}-{scheme}")
    page.locator("#file").set_input_files(clip)
    page.locator("#result").wait_for(timeout=120_000)

    assert page.locator("#name").inner_text() == clip.name  # as text, not as a picture
    labels = page.locator("#labels li > :first-child").all_inner_texts()
    assert sorted(labels) == sorted(LABELS)
    shares = [float(t[:-2]) for t in page.locator("#labels .share").all_inner_texts()]
    assert sum(shares) == pytest.approx(100, abs=0.2)
    assert shares == sorted(shares, reverse=True)

    assert "windows over 3.0 s" in page.locator("#when").inner_text()
    stretches = page.locator("#timeline button")
    said = [stretches.nth(k).get_attribute("aria-label") for k in range(stretches.count())]
    times = sorted(
        tuple(map(float, re.search(r", ([\d.]+) to ([\d.]+) s", s).groups())) for s in said
    )
    assert times[0][0] == 0
    assert times[-1][1] == 3.0
    bright = [k for k, text in enumerate(said) if text.startswith(LABELS[1])]
    assert len(said) == 3 and len(bright) == 1
    assert times[1] == pytest.approx((1.0, 2.0), abs=0.54)  # a window
    track = page.locator(".spans").first.bounding_box()
    last = max(
        (stretches.nth(k).bounding_box() for k in range(stretches.count())),
        key=lambda box: box["x"] + box["width"],
    )
    assert last["x"] + last["width"] == pytest.approx(track["x"] + track["width"], abs=1.5)

    page.wait_for_function("!document.querySelector('#video').hidden")
    stretches.nth(bright[0]).click()
    start = times[1][0]
    page.wait_for_function(
        f"Math.abs(document.querySelector('#video').currentTime - {start}) < .06"
    )
    wide = page.evaluate("document.documentElement.scrollWidth - innerWidth")
    assert wide <= 0  # nothing sticks out to the side
    pages.picture(page, f"serve-{size}-{scheme}")

    with page.context.expect_page() as opened:
        page.get_by_role("link", name="See where the network looked").click()
    explorer = opened.value
    pages.watch(explorer)
    explorer.wait_for_load_state()
    explorer.locator("#scores li").first.wait_for()
    assert explorer.locator("#block option").count() == 1
    pages.picture(explorer, f"serve-explorer-{size}-{scheme}")


def test_by_keyboard_and_with_names_for_those_who_do_not_see_it(pages, address, clip):
    page = pages.open(address)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "file"
    assert page.get_by_role("button", name="Drop a video here").count() == 1
    page.locator("#file").set_input_files(clip)
    page.locator("#result").wait_for(timeout=120_000)
    assert page.evaluate("document.activeElement.id") == "result"  # where to read on
    for element in page.locator("button, a, input, progress").all():
        name = element.evaluate("e => e.ariaLabel || e.innerText || e.labels?.[0]?.innerText")
        assert name and name.strip()


def test_a_dropped_file_is_taken(pages, address, clip):
    page = pages.open(address)
    content = list(clip.read_bytes())
    page.evaluate(
        """(bytes) => {
      const files = new DataTransfer();
      files.items.add(new File([new Uint8Array(bytes)], "dropped.mp4"));
      const drop = (kind) => document.querySelector("#drop")
        .dispatchEvent(new DragEvent(kind, {dataTransfer: files, bubbles: true, cancelable: true}));
      drop("dragover"); drop("drop");
    }""",
        content,
    )
    page.locator("#result").wait_for(timeout=120_000)
    assert page.locator("#name").inner_text() == "dropped.mp4"


@pytest.mark.parametrize(
    ("name", "content", "sentence", "logged"),
    [
        ("notes.mp4", b"no video\n" * 100, "not a video file", ["415"]),
        ("cut.mp4", b"\0\0\0\x18ftypisom" + bytes(900), "not a video that FFmpeg can read", []),
        ("large.mp4", b"\0\0\0\x18ftypisom" + bytes(3_000_000), "too large; up to 2 MB", []),
    ],
    ids=["text", "broken", "large"],
)
def test_what_is_refused_is_refused_in_words(
    pages, address, tmp_path, name, content, sentence, logged
):
    (tmp_path / name).write_bytes(content)
    page = pages.open(address)
    page.get_by_text("Up to 2 MB").wait_for()
    page.locator("#file").set_input_files(tmp_path / name)
    fault = page.get_by_role("alert")
    fault.wait_for(timeout=60_000)
    assert sentence in fault.inner_text()
    assert not page.locator("#result").is_visible()
    assert page.locator("#file").is_enabled()  # another one can be tried
    pages.picture(page, f"serve-refused-{name.split('.')[0]}")
    # Chromium itself logs an answer that is a refusal.
    assert [message for message in pages.errors if not any(s in message for s in logged)] == []
    pages.errors.clear()


def test_the_place_in_the_queue_is_shown(pages, address, clip):
    page = pages.open(address)
    for _ in range(3):
        ask(f"{address}/jobs", clip.read_bytes())
    page.locator("#file").set_input_files(clip)
    page.get_by_text(re.compile(r"Waiting; \d videos? (is|are) before yours")).wait_for()
    pages.picture(page, "serve-waiting")
    page.locator("#result").wait_for(timeout=120_000)


def test_a_server_that_goes_away_is_said(pages, tmp_path, clip):
    model = write_model(tmp_path / "m.safetensors")
    with serving(model, tmp_path / "tmp") as address:
        page = pages.open(address)
        page.get_by_text("Up to 200 MB").wait_for()
    page.locator("#file").set_input_files(clip)
    page.get_by_text("The upload was broken off; is the server there?").wait_for()
    assert all("ERR_CONNECTION_REFUSED" in message for message in pages.errors)
    pages.errors.clear()
