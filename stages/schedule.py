"""Write how many steps pre-training takes under the budget: `dvc repro schedule`."""

from worldwidth.entry import run_stage

from worldwidth.compute import training_epochs, training_steps
from worldwidth.files import write_sealed_json
from worldwidth.layout import SCHEDULE
from worldwidth.matrix import Matrix


def main(matrix: Matrix) -> None:
    """params: arch, budget, reference, archs, world, corpus, model, pretraining -> data/schedule.json

    Pre-training reads the steps and not the budget, so that budgets which come to the same share one base model.
    """
    steps = training_steps(matrix, "base")
    write_sealed_json(SCHEDULE, {"pretraining_steps": steps})
    print(f"schedule: {steps:,} steps of pre-training, {training_epochs(matrix, 'base'):.4g} epochs")


if __name__ == "__main__":
    run_stage(main)
