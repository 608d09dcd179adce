"""Blocks are drawn anew by every test."""

import pytest
import torch


@pytest.fixture(autouse=True)
def seeded():
    """The same random weights whichever tests ran before, in this process or another."""
    torch.manual_seed(0)
