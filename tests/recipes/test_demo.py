"""The demo end to end at a tiny scale: what `make demo` leaves behind, and that it goes on."""

import json
import re
from pathlib import Path

from nonlocalnet.recipes.demo import NETWORKS, run_demo


def test_the_demo_leaves_a_page_that_opens_offline_and_repeats_nothing(tmp_path, monkeypatch):
    said: list[str] = []
    settings = {"train_videos": 8, "test_videos": 4, "epochs": 1, "progress": False}
    page = run_demo(tmp_path, say=said.append, **settings)
    text = page.read_text(encoding="utf-8")
    assert text.count("data:image/png;base64,") == 1 + 3  # the curves and three looks
    assert not re.search(r'src="(?!data:)', text)
    links = re.findall(r'href="([^"]*)"', text)
    assert len(links) == 3
    for link in links:  # the explorers, which need nothing else either
        explorer = (tmp_path / link).read_text(encoding="utf-8")
        assert not re.search(r'(?:src|href)="(?!data:)', explorer)
    for name in NETWORKS:
        assert name in text
    results = [json.loads(f.read_text()) for f in sorted(tmp_path.glob("runs/*/results.json"))]
    assert len(results) == len(NETWORKS)
    assert all(r["protocol"]["evaluated"] == 4 for r in results)
    said.clear()
    monkeypatch.chdir(tmp_path)  # the same folder by another name
    run_demo(Path(), say=said.append, **settings)
    assert not any("steps" in line or "writing" in line for line in said)
