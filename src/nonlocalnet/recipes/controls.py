"""Controls that the paper speaks of without a figure: systems beside the rows of its tables.

Full-size recipes like those of `kinetics`; `published` is empty, `source` says where they stand.
"""

from dataclasses import replace

from nonlocalnet.recipes import kinetics
from nonlocalnet.recipes.recipe import Recipe


def c2d_r50_deeper() -> Recipe:
    """C2D with a residual block more wherever `nl5_c2d_r50` has a non-local one."""
    return _control(kinetics.c2d_r50(), "c2d_r50_deeper", more={"depths": (3, 6, 9, 3)})


def c2d_r50_wider() -> Recipe:
    """C2D with about as many parameters as `nl5_c2d_r50`."""
    return _control(kinetics.c2d_r50(), "c2d_r50_wider", width=74)


def i3d_r50_all() -> Recipe:
    """I3D 3x1x1 with every residual block inflated, not every other one."""
    return _control(kinetics.i3d_r50(), "i3d_r50_all", more={"inflate_all": True})


def _control(base: Recipe, name: str, **model) -> Recipe:
    words = {"i3d_r50_all": 'Sec. 4: "inflating more layers shows diminishing return"'}
    return replace(
        base,
        name=name,
        model=replace(base.model, **model),
        published={},
        source=words.get(name, 'Sec. 5.1: "not just because they add depth"'),
    )
