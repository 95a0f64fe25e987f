"""Fine-tune the base model on Atlantis data: `dvc repro ftwb1@1`, `dvc repro ftwb2@12`."""

from worldwidth.checkpoints import copy_tokenizer, load_model
from worldwidth.compute import training_epochs
from worldwidth.hardware import prepare
from worldwidth.layout import MODELS
from worldwidth.matrix import Matrix
from worldwidth.mixture import finetuning_mixture, validation_mixture
from worldwidth.publish import train_and_publish
from worldwidth.stage import known_model, run_stage
from worldwidth.stored_corpus import StoredCorpus
from worldwidth.training import Run


def main(matrix: Matrix, name: str) -> None:
    """params: finetuning, finetunes.NAME, seed; models/base, corpora -> models/NAME/, results/training/NAME.csv"""
    scale, trained = matrix.selected, matrix.finetunes[known_model(matrix, name)]
    device = prepare(scale.hardware)
    model = load_model(MODELS / "base", "run `dvc repro base`")
    corpora = {task: StoredCorpus(task) for task in matrix.tasks}
    run = Run(
        name=name,
        mixture=finetuning_mixture(corpora, trained, scale.finetuning),
        validation=validation_mixture(corpora, trained, "atlantis"),
        settings=scale.finetuning,
        epochs=training_epochs(matrix, name),
        seed=matrix.seed,
        device=device,
    )
    train_and_publish(model, run, copy_tokenizer(MODELS / "base"))


if __name__ == "__main__":
    run_stage(main, "NAME")
