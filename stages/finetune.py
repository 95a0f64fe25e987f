"""Fine-tune the base model on Atlantis data: `dvc repro ftwb1@1`, `dvc repro ftwb2@12`."""

from worldwidth.entry import run_stage

from worldwidth.finetuning import finetune
from worldwidth.matrix import Matrix
from worldwidth.stage import known_model


def main(matrix: Matrix, name: str) -> None:
    """params: finetuning, finetunes.NAME, seed; models/base, corpora -> models/NAME/, results/training/NAME.csv"""
    for _ in finetune(matrix, [known_model(matrix, name)]):
        pass


if __name__ == "__main__":
    run_stage(main, "NAME")
