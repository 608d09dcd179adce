"""The paper's figures about its networks, and that every departure from them is explained."""

import pytest

from nonlocalnet.models.paper import CLAIMS, SETTINGS, TABLE_1, check


@pytest.fixture(scope="module")
def checked():
    return dict(zip(SETTINGS, check(), strict=True))


def test_table_1_is_preset_paper_to_the_cell(checked):
    for at in ("3x3", "1x1"):
        assert checked["paper", at].sizes == TABLE_1
    differ = {n for n, size in checked["official", "3x3"].sizes.items() if size != TABLE_1[n]}
    assert differ == {"pool1", "res2", "pool2"}


def test_each_figure_of_the_paper_comes_out_of_some_setting(checked):
    for i, claim in enumerate(CLAIMS):
        assert any(claim.holds(setting.figures[i]) for setting in checked.values()), claim.what


def test_a_figure_that_some_setting_misses_says_why(checked):
    for i, claim in enumerate(CLAIMS):
        missed = not all(claim.holds(setting.figures[i]) for setting in checked.values())
        assert missed == bool(claim.why), claim.what


def test_the_sentences_are_true(checked):
    """What the explanations say, figure by figure."""
    of = {
        at: dict(zip([c.what for c in CLAIMS], s.figures, strict=True)) for at, s in checked.items()
    }
    giga = "C2D-R101 multiply-adds, G"
    assert {at for at, f in of.items() if round(f[giga], 1) == 34.2} == {("official", "1x1")}
    for at in ("3x3", "1x1"):
        assert round(of["official", at]["I3D 3x3x3 / C2D, parameters"], 1) == 1.5
        assert round(of["official", at]["I3D 3x3x3 / C2D, mult-adds"], 1) == 1.8
    for preset in ("paper", "official"):
        assert round(of[preset, "3x3"]["I3D 3x1x1 / C2D, mult-adds"], 1) == 1.5
        assert round(of[preset, "1x1"]["I3D 3x1x1 / C2D, mult-adds"], 1) == 1.4


def test_no_setting_gives_every_figure(checked):
    for setting in checked.values():
        held = [c.holds(f) for c, f in zip(CLAIMS, setting.figures, strict=True)]
        assert not all(held)
