"""Write what the matrix comes to for this arch, as the trainings read it: `dvc repro recipe`."""

from worldwidth.engine.stage_main import run_stage

from worldwidth.settings.compute import finetuning_recipe, plug_in_recipe, pretraining_recipe, training_epochs
from worldwidth.settings.recipe import save_recipes
from worldwidth.settings.schema import Settings


def main(settings: Settings) -> None:
    """params: arch, archs, recipe, budgets, model, trainings -> data/pretraining.json, finetuning.json, plug_in.json

    The trainings depend on these files and not on the params, so that all that comes to the same shares its models.
    """
    pretraining = pretraining_recipe(settings)
    save_recipes(pretraining, finetuning_recipe(settings), plug_in_recipe(settings))
    print(f"recipe: {pretraining.steps:,} steps of pre-training, {training_epochs(settings, 'base'):.4g} epochs")


if __name__ == "__main__":
    run_stage(main)
