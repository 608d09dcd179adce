"""Controls that the paper speaks of without a figure: systems beside the rows of its tables.

Full-size recipes like those of `kinetics`; `published` is empty, `source` says where they stand.
"""

from dataclasses import replace

from nonlocalnet.recipes import kinetics
from nonlocalnet.recipes.recipe import ModelConfig, Recipe
from nonlocalnet.weights.imagenet import image_facts

THIN = "resnet50_thin.npz"
"""ResNet-50 with half the filters: trained on ImageNet, then by its publisher for two classes."""


def c2d_r50_deeper() -> Recipe:
    """C2D with a residual block more wherever `nl5_c2d_r50` has a non-local one."""
    return _control(kinetics.c2d_r50(), "c2d_r50_deeper", more={"depths": (3, 6, 9, 3)})


def c2d_r50_wider() -> Recipe:
    """C2D with about as many parameters as `nl5_c2d_r50`."""
    return _control(kinetics.c2d_r50(), "c2d_r50_wider", width=74)


def i3d_r50_all() -> Recipe:
    """I3D 3x1x1 with every residual block inflated, not every other one."""
    return _control(kinetics.i3d_r50(), "i3d_r50_all", more={"inflate_all": True})


def thin_c2d_random() -> Recipe:
    """C2D in the size and layout of the image weights, from random ones."""
    return _thin("c2d_r50", "", "thin_c2d_random")


def thin_c2d_images() -> Recipe:
    """C2D that starts from the image weights."""
    return _thin("c2d_r50", THIN, "thin_c2d_images")


def thin_i3d_random() -> Recipe:
    """I3D in the size and layout of the image weights, from random ones."""
    return _thin("i3d_r50", "", "thin_i3d_random")


def thin_i3d_images() -> Recipe:
    """I3D that starts from the image weights, inflated."""
    return _thin("i3d_r50", THIN, "thin_i3d_images")


def warped_i3d() -> Recipe:
    """I3D on warped clips, with steps enough for them."""
    return _control(kinetics.i3d_r50(), "warped_i3d_r50")


def warped_nl5_i3d() -> Recipe:
    """I3D with five blocks on warped clips."""
    return _control(kinetics.nl5_i3d_r50(), "warped_nl5_i3d_r50")


def _thin(network: str, init: str, name: str) -> Recipe:
    """Half the filters; with image weights a third of the rate, as `train --init` by itself."""
    facts = image_facts(THIN)
    base = Recipe(name=name)
    train = replace(base.train, lr=base.train.lr / 3) if init else base.train
    return replace(
        base,
        model=ModelConfig(name=network, preset=facts.preset, width=32, more=dict(facts.build)),
        clip=replace(base.clip, **facts.clip),
        train=train,
        init=init,
        source='Sec. 4.1: "Our models are pre-trained on ImageNet"',
    )


def _control(base: Recipe, name: str, **model) -> Recipe:
    words = {
        "i3d_r50_all": 'Sec. 4: "inflating more layers shows diminishing return"',
        "warped_i3d_r50": "ours: the paper does not warp",
        "warped_nl5_i3d_r50": "ours: the paper does not warp",
    }
    return replace(
        base,
        name=name,
        model=replace(base.model, **model),
        published={},
        source=words.get(name, 'Sec. 5.1: "not just because they add depth"'),
    )
