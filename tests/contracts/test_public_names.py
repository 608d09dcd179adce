"""The names users import are a contract: a new or lost one is a visible line here."""

import nonlocalnet as nln

NAMES = {
    "NonLocalBlock",
    "block_stats",
    "build",
    "explain",
    "freeze_bn",
    "from_checkpoint",
    "insert_nonlocal",
    "list_models",
    "load",
    "load_pretrained",
    "nonlocal_blocks",
    "nonlocal_op",
    "nonlocal_weights",
    "optimize",
    "precise_bn",
    "remove_nonlocal",
    "save",
}


def test_public_names_are_these_and_all_resolve():
    assert set(nln.__all__) == NAMES
    for name in nln.__all__:
        assert getattr(nln, name).__name__ == name
        assert getattr(nln, name).__doc__
