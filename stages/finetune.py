"""Fine-tune the base model on Atlantis data: `dvc repro ftwb1@1`, `dvc repro ftwb2@12`."""

from worldwidth.engine.stage_main import run_stage

from collections.abc import Iterator

from worldwidth.settings.names import known_model
from worldwidth.settings.schema import Settings
from worldwidth.training.finetune import finetune


def main(settings: Settings, name: str) -> None:
    """params: finetuning, finetunes.NAME, seed; models/base, corpora -> models/NAME/, results/training/NAME.csv"""
    for _ in run_together(settings, [name]):
        pass


def run_together(settings: Settings, names: list[str]) -> Iterator[str]:
    """The same for several models; yields the name of each when its files are written."""
    return finetune(settings, [known_model(settings, name) for name in names])


if __name__ == "__main__":
    run_stage(main, "NAME")
