"""`nonlocalnet train --recipe NAME --data DIR`: one row of the paper's tables."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from nonlocalnet.cli.train import add_common, prepare, report
from nonlocalnet.recipes.recipe import ModelConfig, TestConfig, TrainConfig
from nonlocalnet.recipes.tables import recipe_named

GROUPS = ("model", "clip", "train", "test")


def add_arguments(parser, name: str) -> None:
    """Options of the command; their defaults are the recipe's.

    Raises:
        ValueError: No recipe has this name.
    """
    from nonlocalnet.data.clips import ClipConfig

    recipe = recipe_named(name)
    parser.add_argument("--recipe", type=str, required=True, help="nonlocalnet recipes lists them")
    parser.add_argument("--data", type=str, required=True, help="as for nonlocalnet train DATA")
    parser.add_argument(
        "--init", type=str, default="", help=f"first weights instead of {recipe.init or 'none'}"
    )
    parser.add_argument("--batch", type=int, help="clips per process and forward pass")
    add_common(parser, f"runs/{name}")
    for group, kind in zip(GROUPS, (ModelConfig, ClipConfig, TrainConfig, TestConfig), strict=True):
        parser.add_class_arguments(kind, group)
        parser.set_defaults(_flat(group, dataclasses.asdict(getattr(recipe, group))))


def run(options) -> int:
    """Trains, and says where the model is and what it reached."""
    from nonlocalnet.recipes.run import run as run_recipe

    groups = {group: options[group] for group in GROUPS}
    recipe = dataclasses.replace(recipe_named(options.recipe), **groups)
    folder, out, shared = prepare(options, options.data, recipe.train.seed)
    run_recipe(recipe, folder, out, batch=options.batch, init=options.init, **shared)
    return report(options, out)


def _flat(group: str, values: Mapping[str, Any]) -> dict[str, Any]:
    return {f"{group}.{name}": value for name, value in values.items()}
