"""docs/data.md: its lists are read, its table is arithmetic."""

import re
from pathlib import Path

import pytest

from nonlocalnet.data.clips import by_time
from nonlocalnet.data.lists import read_list

TEXT = (Path(__file__).parents[2] / "docs" / "data.md").read_text(encoding="utf-8")
FENCED = re.findall(r"^```(\w*)\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)
LISTS = [text for kind, text in FENCED if not kind and not text.startswith(("videos/", "nonlocal"))]
ROWS = re.findall(r"--frames (\d+) --stride (\d+)`.*--seconds ([\d.]+) --fps ([\d.]+)`", TEXT)


def test_there_is_an_example_of_each_list():
    assert len(LISTS) == 7 and len(ROWS) == 5


@pytest.mark.parametrize("text", LISTS, ids=lambda text: text.split("\n")[0])
def test_its_lists_are_read(tmp_path, text):
    (tmp_path / "list.txt").write_text(text, encoding="utf-8")
    rows = read_list(tmp_path / "list.txt", tmp_path).rows
    assert rows and all(row.label or row.actions or row.names is not None for row in rows)


@pytest.mark.parametrize("row", ROWS, ids=" ".join)
def test_both_columns_of_its_table_are_the_same_clip(row):
    frames, stride, seconds, fps = row
    want = {"frames": int(frames), "stride": int(stride), "fps": 30.0}
    assert by_time(float(seconds), float(fps)) == want
