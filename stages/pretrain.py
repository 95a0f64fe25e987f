"""Train the base model from scratch on ordinary cities: `dvc repro base`."""

from worldwidth.engine.stage_main import run_stage

from worldwidth.settings.schema import Settings
from worldwidth.training.pretrain import pretrain


def main(settings: Settings) -> None:
    """params: arch, model, pretraining, seed; data/budget.json, corpora -> models/base/, results/training/base.csv"""
    pretrain(settings)


if __name__ == "__main__":
    run_stage(main)
