"""Recipes: the paper's numbers, the choice for a device, and what is refused."""

from dataclasses import replace

import pytest
import torch

from llmatic_daemon.worker.training import recipes
from llmatic_daemon.worker.training.recipes import FAST_CPU, FAST_CUDA, RecipeError, choose

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


def test_paper_recipe_is_the_papers():
    recipe = choose("paper", {}, CUDA, 3)

    assert (recipe.epochs, recipe.learning_rate, recipe.momentum) == (50, 0.001, 0.9)
    assert (recipe.batch_size, recipe.schedule, recipe.augmentation) == (4, "constant", "none")
    assert (recipe.precision, recipe.weight_decay, recipe.label_smoothing) == ("float32", 0.0, 0.0)


@pytest.mark.parametrize(("has_bfloat16", "precision"), [(True, "bfloat16"), (False, "float32")])
def test_fast_recipe_uses_what_the_processor_has(monkeypatch, has_bfloat16, precision):
    monkeypatch.setattr(recipes, "cpu_has_bfloat16", lambda: has_bfloat16)

    assert choose("fast", {}, CPU, 3) == replace(FAST_CPU, precision=precision)


@pytest.mark.parametrize(("num_channels", "augmentation"), [(1, "shift"), (3, "shift-flip")])
def test_only_colour_images_are_mirrored(num_channels, augmentation):
    assert choose("fast", {}, CUDA, num_channels) == replace(FAST_CUDA, augmentation=augmentation)


def test_every_number_can_be_overridden():
    recipe = choose("paper", {"batch_size": 32, "learning_rate": 0.1, "epochs": None}, CPU, 3)

    assert (recipe.batch_size, recipe.learning_rate, recipe.epochs) == (32, 0.1, 50)


@pytest.mark.parametrize(
    ("preset", "overrides", "message"),
    [
        ("papr", {}, r"recipe must be one of paper, fast, got 'papr'; did you mean 'paper'\?"),
        ("fast", {"batchsize": 1}, r"got 'batchsize'; did you mean 'batch_size'\?"),
        ("fast", {"schedule": "onecycle"}, r"did you mean 'one-cycle'\?"),
        ("fast", {"batch_size": 0}, "batch_size must be at least 1, got 0"),
        ("fast", {"epochs": -1}, "epochs must be at least 0, got -1"),
        ("fast", {"learning_rate": float("nan")}, "learning_rate must be above 0, got nan"),
        ("fast", {"label_smoothing": 1.0}, r"label_smoothing must be in \[0, 1\), got 1.0"),
        ("fast", {"momentum": 0, "nesterov": True}, "nesterov needs a momentum above 0"),
        ("fast", {"batch_size": "many"}, "a recipe needs numbers"),
    ],
)
def test_a_wrong_recipe_says_what_must_be(preset, overrides, message):
    with pytest.raises(RecipeError, match=message):
        choose(preset, overrides, CPU, 3)
