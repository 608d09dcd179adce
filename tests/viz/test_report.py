"""The report page: whole in one file, every text escaped, the markup closed."""

import urllib.parse
from html.parser import HTMLParser

import pytest

from nonlocalnet.viz.report import Guess, Picture, Section, Table, report_page

PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c4890000000d49444154789c63"
    "606060f80f0001040100b5b5d5d00000000049454e44ae426082"
)
NASTY = "<script>alert(1)</script> & \"quoted\" 'text'"
VOID = {"meta", "img", "br"}


class Reader(HTMLParser):
    def __init__(self, page):
        super().__init__()
        self.open, self.texts, self.tags, self.sources, self.links = [], [], [], [], []
        self.feed(page)
        self.close()
        assert not self.open, "every element is closed"

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.sources += [v for k, v in attrs if k == "src" or (k == "href" and tag != "a")]
        self.links += [v for k, v in attrs if k == "href" and tag == "a"]
        assert not any(key.startswith("on") for key, _ in attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)


@pytest.fixture
def page(tmp_path):
    picture = tmp_path / "p.png"
    picture.write_bytes(PIXEL)
    return report_page(
        NASTY,
        f"{NASTY}\n\nsecond",
        [
            Section(
                title=NASTY,
                text=NASTY,
                table=Table(header=["Network", NASTY], rows=[[NASTY, "9.5 %"], ["b", "10 %"]]),
                guesses=[
                    Guess(clip=NASTY, truth=NASTY, scores=[(NASTY, 0.9), ("other", 0.1)]),
                    Guess(clip="c", truth="t", scores=[("u", 1.0)]),
                ],
                links=[(NASTY, f"explorer/{NASTY}.html")],
                pictures=[Picture(path=picture, alt=NASTY, caption=NASTY)],
            )
        ],
        footer=NASTY,
    )


def test_every_text_is_escaped_and_there_is_no_script(page):
    read = Reader(page)
    assert "script" not in read.tags
    assert "<script>" not in page
    assert sum(NASTY in text for text in read.texts) == 13
    assert read.tags.count("p") == 4


def test_nothing_is_fetched_from_outside(page):
    read = Reader(page)
    assert read.sources and all(s.startswith("data:image/png;base64,") for s in read.sources)
    assert "http" not in page and "url(" not in page and "@import" not in page


def test_links_lead_to_files_beside_the_page_whatever_they_are_called(page):
    (link,) = Reader(page).links
    assert link.startswith("./")  # a name with a colon is no scheme
    assert urllib.parse.unquote(link) == f"./explorer/{NASTY}.html"


def test_columns_of_numbers_stand_to_the_right(page):
    assert page.count("<td class=number>9.5 %</td>") == 1
    assert '<th scope="col">Network</th>' in page


def test_right_and_wrong_are_said_in_words(page):
    assert page.count("(right)") == 1 and page.count("(wrong)") == 1


def test_it_adapts_to_phones_and_dark_mode(page):
    assert 'name="viewport"' in page and "prefers-color-scheme: dark" in page


def test_a_ragged_table_and_an_unknown_picture_are_refused(tmp_path):
    ragged = Section(title="t", table=Table(header=["a", "b"], rows=[["1"]]))
    with pytest.raises(ValueError, match="a row has 1 cells under 2 headings"):
        report_page("t", "i", [ragged])
    film = Section(title="t", pictures=[Picture(path=tmp_path / "film.mp4", alt="")])
    with pytest.raises(ValueError, match=r"takes .png, .svg and .jpg pictures"):
        report_page("t", "i", [film])
