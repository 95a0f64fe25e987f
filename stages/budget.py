"""Write how many steps pre-training takes under the budget: `dvc repro budget`."""

from worldwidth.engine.stage_main import run_stage

from worldwidth.core.files import write_json
from worldwidth.settings.compute import training_epochs, training_steps
from worldwidth.settings.paths import BUDGET
from worldwidth.settings.schema import Settings


def main(settings: Settings) -> None:
    """params: arch, budget, reference, archs, world, corpus, model, pretraining -> data/budget.json

    Pre-training reads the steps and not the budget, so that budgets which come to the same share one base model.
    """
    steps = training_steps(settings, "base")
    write_json(BUDGET, {"pretraining_steps": steps})
    print(f"budget: {steps:,} steps of pre-training, {training_epochs(settings, 'base'):.4g} epochs")


if __name__ == "__main__":
    run_stage(main)
