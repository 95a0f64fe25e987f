"""Fine-tuning models of the matrix: one, or several in one process that share what they read."""

import copy
from collections.abc import Iterator

from worldwidth.checkpoints import copy_tokenizer, load_model
from worldwidth.compute import training_steps
from worldwidth.errors import WorldwidthError
from worldwidth.hardware import in_bfloat16, prepare
from worldwidth.layout import MODELS
from worldwidth.matrix import Matrix
from worldwidth.mixture import finetuning_mixture, validation_mixture
from worldwidth.model import DecoderConfig
from worldwidth.publish import train_and_publish_together
from worldwidth.stored_corpus import StoredCorpus
from worldwidth.training import Run


def finetune(matrix: Matrix, names: list[str]) -> Iterator[str]:
    """Fine-tune ``names`` from the base model and write their files; yield each name once that is done.

    On a GPU they are trained as one stacked model. On a CPU, where stacking is slower, one after
    another: then the files are, byte for byte, those of separate processes.

    Raises:
        WorldwidthError, OSError: a run diverged or could not be written; raised when the others are done.
    """
    settings, resume_seconds = matrix.selected.finetuning, matrix.selected.execution.resume_seconds
    device = prepare(matrix.selected.hardware)
    expected = DecoderConfig.of(matrix.selected, matrix.selected_arch)
    base = load_model(MODELS / "base", "run `dvc repro base`", expected)
    corpora = {task: StoredCorpus(task) for task in matrix.tasks}

    def run(name: str) -> Run:
        return Run(
            name=name,
            mixture=finetuning_mixture(corpora, matrix.finetunes[name], settings),
            validation=validation_mixture(corpora, matrix.finetunes[name], "atlantis"),
            settings=settings,
            steps=training_steps(matrix, name),
            seed=matrix.seed,
            device=device,
            bfloat16=in_bfloat16(matrix.selected.hardware, device),
            threads=matrix.selected.hardware.threads,
        )

    errors: list[WorldwidthError | OSError] = []
    for group in [names] if device.type == "cuda" else [[name] for name in names]:
        pairs = [(copy.deepcopy(base), run(name)) for name in group]
        try:
            yield from train_and_publish_together(pairs, copy_tokenizer(MODELS / "base"), resume_seconds)
        except (WorldwidthError, OSError) as error:
            errors.append(error)
    if errors:
        raise errors[0]
