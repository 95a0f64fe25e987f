"""Fine-tune the base model on Atlantis data: `dvc repro ftwb1@1`, `dvc repro ftwb2@12`."""

from worldwidth.engine.stage_main import run_stage

from worldwidth.settings.names import known_model
from worldwidth.settings.schema import Settings
from worldwidth.training.finetune import finetune


def main(settings: Settings, name: str) -> None:
    """params: finetuning, finetunes.NAME, seed; models/base, corpora -> models/NAME/, results/training/NAME.csv"""
    for _ in finetune(settings, [known_model(settings, name)]):
        pass


if __name__ == "__main__":
    run_stage(main, "NAME")
