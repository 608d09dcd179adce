"""The picture of the floors is what the imports are."""

import importlib.util
from pathlib import Path

import pytest

TOOLS = Path(__file__).parents[2] / "docs" / "tools"


@pytest.fixture(scope="module")
def floors():
    spec = importlib.util.spec_from_file_location("floors", TOOLS / "floors.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_picture_is_current(floors):
    drawn = floors.PICTURE.read_text(encoding="utf-8")
    assert drawn == floors.picture(), "run python docs/tools/floors.py"


@pytest.fixture
def house(tmp_path):
    """A package of three floors, of which the lowest is drawn last."""
    for floor, text in {
        "cellar": "import os",
        "ground": "from house.cellar import boxes",
        "roof": "def run():\n    import house.ground.rooms\n    from house.cellar import wine",
    }.items():
        folder = tmp_path / "house" / floor
        folder.mkdir(parents=True)
        (folder / "__init__.py").write_text('"""A floor: of a house."""', encoding="utf-8")
        (folder / "rooms.py").write_text(text, encoding="utf-8")
    return tmp_path / "house"


def test_it_counts_files_that_import_also_inside_functions(floors, house):
    assert floors.imports(house) == {
        "cellar": {},
        "ground": {"cellar": 1},
        "roof": {"ground": 1, "cellar": 1},
    }
    assert floors.from_the_top(floors.imports(house)) == ["roof", "ground", "cellar"]
    assert "A floor</text>" in floors.picture(house)


def test_it_has_no_place_for_imports_that_point_up(floors, house):
    (house / "cellar" / "rooms.py").write_text("from house.roof import tiles", encoding="utf-8")
    with pytest.raises(ValueError, match="cellar, ground, roof import each other"):
        floors.picture(house)
