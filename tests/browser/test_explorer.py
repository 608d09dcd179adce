"""The explorer in a real browser: what one clicks is what the network answers."""

import re
from dataclasses import replace

import matplotlib.image
import numpy as np
import pytest
import torch

from nonlocalnet.data.clips import ClipConfig, to_input
from nonlocalnet.data.longrange import FPS, render, scene
from nonlocalnet.data.video import open_video, read_frames
from nonlocalnet.data.writing import write_frames
from nonlocalnet.engine.classifier import Classifier
from nonlocalnet.engine.explain import look
from nonlocalnet.models.zoo import build
from nonlocalnet.recipes.explorer import write_page
from nonlocalnet.viz.explorer import BlockRows, Explorer, explorer_page

CLIP = ClipConfig(frames=6, stride=4, crop=64, short_side=(64, 64), test_short_side=64)
BLOCKS = ["res3.1", "res3.0", "res4.0"]  # the one of Figure 3 first


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A page of a network with three blocks on a generated video, and what the network answers."""
    folder = tmp_path_factory.mktemp("explorer")
    video = folder / "disc.mp4"
    write_frames(video, render(scene(0, 1, "disc")), FPS)
    torch.manual_seed(0)
    places = {"res3": (0, 1), "res4": (0,)}
    model = build("c2d_tiny", 2, nonlocal_=places, width=8, scale=4.0).eval()
    classifier = Classifier(model, ["cross", "disc"], CLIP, {})
    page = write_page(classifier, video, folder / "disc.html", at=(1.6, 20, 20), draws=4)

    begin = float(re.search(r"frames from ([\d.]+) to", page.read_text(encoding="utf-8"))[1])
    opened = open_video(video)
    first = int(np.abs(opened.seconds - begin).argmin())
    frames = read_frames(opened, first + 4 * np.arange(6), CLIP.test_short_side)
    x = to_input(torch.from_numpy(frames)[None], CLIP)
    return page, lambda at, block: look(model, x, at, block=block)[0]


def ready(pages, page, **how):
    shown = pages.open(page, **how)
    shown.wait_for_selector("html[data-ready=yes]")
    return shown


def click(shown, frame, y, x, tap=False):
    """Points at a place of a frame in the strip, by its px in the network's input."""
    picture = shown.locator(f'#strip .picture[data-frame="{frame}"]')
    picture.scroll_into_view_if_needed()
    box = picture.bounding_box()
    at = {"x": (x + 0.5) / 64 * box["width"], "y": (y + 0.5) / 64 * box["height"]}
    picture.tap(position=at) if tap else picture.click(position=at)


def arrows(shown):
    """Ends of the strip's arrows in px of the window, weakest first."""
    return np.array(
        shown.evaluate(
            """() => { const box = document.querySelector("#strip > svg").getBoundingClientRect();
            return [...document.querySelectorAll("#strip > svg g")].map(
              (g) => [Number(g.dataset.x) + box.left, Number(g.dataset.y) + box.top]) }"""
        )
    )


def check_strongest(shown, seen):
    """The last arrow drawn ends where the network's strongest key lies in the window."""
    end = arrows(shown)[-1]
    off = []
    for frame, y, x in seen.keys[seen.weights > 0.96 * seen.weights[0]]:  # packing keeps 3.6 %
        box = shown.locator(f'#strip .picture[data-frame="{round(frame)}"]').bounding_box()
        right, down = (x + 0.5) / 64 * box["width"], (y + 0.5) / 64 * box["height"]
        off.append(np.abs(end - (box["x"] + right, box["y"] + down)).max())
    assert min(off) < 1


@pytest.mark.parametrize("size", ["desktop", "phone"])
def test_a_click_draws_the_networks_own_arrows_at_the_right_pixels(pages, made, size):
    page, answer = made
    shown = ready(pages, page, size=size)
    for frame, y, x in ((0, 30.0, 13.0), (4, 50.0, 40.0)):
        click(shown, frame, y, x, tap=size == "phone")
        assert len(arrows(shown)) == 20
        check_strongest(shown, answer((frame, y, x), BLOCKS[0]))
        # The tip is painted there too: yellow, a few px around.
        shown.locator('input[value="arrows"]').check()
        shown.evaluate("y => scrollBy(0, y - innerHeight / 2)", float(arrows(shown)[-1][1]))
        ends = arrows(shown)[-1]
        file = pages.picture(shown, f"explorer-{size}-arrow-{frame}", whole=False)
        ratio = shown.evaluate("devicePixelRatio")
        columns, rows = (slice(int(ratio * (v - 6)), int(ratio * (v + 6))) for v in ends)
        spot = matplotlib.image.imread(file)[rows, columns]
        assert ((spot[..., 0] > 0.8) & (spot[..., 1] > 0.6) & (spot[..., 2] < 0.4)).any()
        shown.locator('input[value="both"]').check()
    text = shown.locator("#said").text_content()
    assert text.startswith("From ") and "res3.1 looks most at" in text
    assert shown.evaluate("document.documentElement.scrollWidth <= innerWidth"), "scrolls sideways"
    pages.picture(shown, f"explorer-{size}")
    assert [url.rsplit("/", 1)[-1] for url in pages.requests] == ["disc.html"]


def test_another_block_answers_for_itself(pages, made):
    page, answer = made
    shown = ready(pages, page)
    assert shown.locator("#block option").all_text_contents() == BLOCKS
    for index in (1, 2, 0):
        shown.locator("#block").select_option(str(index))
        click(shown, 2, 21.0, 37.0)
        check_strongest(shown, answer((2, 21.0, 37.0), BLOCKS[index]))
        assert BLOCKS[index] in shown.locator("#said").text_content()
    keys = shown.locator("#stats tr", has_text="Keys").text_content()
    shown.locator("body").press("b")
    shown.locator("body").press("b")
    assert shown.locator("#block").input_value() == "2"
    assert shown.locator("#stats tr", has_text="Keys").text_content() != keys


def test_it_plays_and_stands_still(pages, made):
    shown = ready(pages, made[0])
    clock = shown.locator("#clock")
    moved = "before => document.getElementById('clock').textContent !== before"
    before = clock.text_content()
    shown.get_by_role("button", name="Play").click()
    shown.wait_for_function(moved, arg=before)
    shown.get_by_role("button", name="Pause").click()
    still = clock.text_content()
    shown.wait_for_timeout(900)  # two frames
    assert clock.text_content() == still
    shown.evaluate("document.activeElement.blur()")
    shown.keyboard.press("Space")
    shown.wait_for_function(moved, arg=still)
    shown.keyboard.press("Space")
    shown.locator("#seek").fill("0")
    assert clock.text_content().startswith("1 of 6")
    shown.evaluate("document.activeElement.blur()")
    shown.keyboard.press("ArrowRight")
    assert clock.text_content().startswith("2 of 6")
    shown.keyboard.press("ArrowLeft")
    shown.keyboard.press("ArrowLeft")
    assert clock.text_content().startswith("6 of 6"), "it goes round"
    assert shown.locator("#strip .current").get_attribute("data-frame") == "5"


def test_arrows_heat_and_their_number_follow_the_controls(pages, made):
    shown = ready(pages, made[0])
    heats = shown.locator("#strip canvas:visible")
    assert heats.count() == 6 and len(arrows(shown)) == 20
    shown.locator('input[value="heat"]').check()
    assert heats.count() == 6 and len(arrows(shown)) == 0
    shown.locator('input[value="arrows"]').check()
    assert heats.count() == 0 and len(arrows(shown)) == 20
    shown.locator("#top").fill("3")
    assert len(arrows(shown)) == 3
    shown.locator("body").press("+")
    assert len(arrows(shown)) == 4
    shown.locator("body").press("v")
    assert shown.locator('input[value="heat"]').is_checked()
    shown.locator("#shown").select_option("4")
    assert shown.locator("#strip .picture").count() == 4


def test_what_weighs_nothing_gets_no_arrow(pages, tmp_path):
    """A sharp row has few places; arrows once went to the first cells of the clip as well."""
    axes = (np.arange(4.0), np.array([7.5, 23.5]), np.array([7.5, 23.5]))
    weights = np.full((4, 2, 2, 4, 2, 2), 1e-9, np.float32)
    weights[..., 2, 1, 0], weights[..., 3, 0, 1] = 0.75, 0.25
    block = BlockRows(
        name="res3.0", queries=axes, keys=axes, weights=weights, cell=(16.0, 16.0), softmax=True
    )
    page = tmp_path / "sharp.html"
    content = Explorer(
        title="sharp",
        summary="",
        frames=np.zeros((4, 32, 32, 3), np.uint8),
        seconds=[0.0, 0.1, 0.2, 0.3],
        duration=0.4,
        input_size=(32, 32),
        video_size=(32, 32),
        scores=[],
        blocks=[block],
        start=(0, 8.0, 8.0),
    )
    page.write_text(explorer_page(content), encoding="utf-8")
    shown = ready(pages, page)
    assert len(arrows(shown)) == 2
    assert "The 2 arrows hold 100 % of the weight" in shown.locator("#said").text_content()
    # With one frame shown of four, the heat of the others is seen in it, as their arrows are.
    red = """() => { const canvas = document.querySelector("#strip canvas");
      const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
      return [...data].filter((value, i) => i % 4 === 3 && value > 100).length }"""
    assert shown.evaluate(red) == 0
    page.write_text(explorer_page(replace(content, frames=content.frames[:1], seconds=[0.0])))
    assert ready(pages, page).evaluate(red) > 0


def test_keys_move_the_position_by_one_cell(pages, made):
    page, answer = made
    shown = ready(pages, page)
    click(shown, 3, 24.0, 24.0)
    shown.locator("#stage").press("Shift+ArrowRight")
    check_strongest(shown, answer((3, 24.0, 32.0), BLOCKS[0]))
    shown.locator("#stage").press("Shift+ArrowUp")
    check_strongest(shown, answer((3, 16.0, 32.0), BLOCKS[0]))


def test_the_stage_takes_clicks_too(pages, made):
    page, answer = made
    shown = ready(pages, page)
    shown.locator("#seek").fill("4")
    box = shown.locator("#stage").bounding_box()
    at = {"x": box["width"] * 41 / 64, "y": box["height"] * 25 / 64}
    shown.locator("#stage").click(position=at)
    check_strongest(shown, answer((4, 24.5, 40.5), BLOCKS[0]))


def test_dark_and_light_and_names_for_those_who_cannot_see(pages, made):
    colours = {}
    for scheme in ("light", "dark"):
        shown = ready(pages, made[0], scheme=scheme)
        colours[scheme] = shown.evaluate("getComputedStyle(document.body).backgroundColor")
        pages.picture(shown, f"explorer-{scheme}")
    assert colours["light"] == "rgb(255, 255, 255)" != colours["dark"]
    controls = shown.locator("button, input, select, [tabindex], [role=img]")
    unnamed = controls.evaluate_all(
        """found => found.filter((e) => !(e.getAttribute("aria-label") || e.textContent.trim() ||
          (e.labels && e.labels.length))).map((e) => e.outerHTML.slice(0, 80))"""
    )
    assert controls.count() > 10 and unnamed == []
    assert shown.get_by_role("button", name="Frame 3 of 6").count() == 1
    assert "Scores of 10 clips" in shown.locator("#timeline svg").get_attribute("aria-label")
    assert "random others by" in shown.locator("#notes").text_content()
