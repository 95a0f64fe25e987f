"""Train the base model from scratch on ordinary cities: `dvc repro base`."""

from worldwidth.entry import run_stage

import torch

from worldwidth import world
from worldwidth.errors import WorldwidthError
from worldwidth.files import read_json
from worldwidth.hardware import in_bfloat16, prepare
from worldwidth.layout import SCHEDULE
from worldwidth.matrix import Matrix
from worldwidth.mixture import pretraining_mixture, validation_mixture
from worldwidth.model import Decoder, DecoderConfig
from worldwidth.publish import train_and_publish
from worldwidth.stored_corpus import StoredCorpus
from worldwidth.streams import torch_seed
from worldwidth.tokens import Vocabulary
from worldwidth.training import Run


def main(matrix: Matrix) -> None:
    """params: arch, model, pretraining, seed; data/schedule.json, corpora -> models/base/, results/training/base.csv"""
    scale, arch = matrix.selected, matrix.selected_arch
    device = prepare(scale.hardware)
    corpora = {task: StoredCorpus(task) for task in matrix.tasks}
    vocabulary = Vocabulary(scale.model, scale.world, world.load(scale.world))
    model = Decoder(DecoderConfig.of(scale, arch))
    model.initialize(torch.Generator().manual_seed(torch_seed(matrix.seed, "initialization")))
    run = Run(
        name="base",
        mixture=pretraining_mixture(corpora),
        validation=validation_mixture(corpora, matrix.tasks, "world"),
        settings=scale.pretraining,
        steps=_scheduled_steps(),
        seed=matrix.seed,
        device=device,
        bfloat16=in_bfloat16(scale.hardware, device),
        threads=scale.hardware.pretraining_threads,
    )
    train_and_publish(model, run, vocabulary.save, scale.execution.resume_seconds)


def _scheduled_steps() -> int:
    """The steps that data/schedule.json says."""
    remedy = "run `dvc repro schedule`"
    match read_json(SCHEDULE, remedy):
        case {"pretraining_steps": int(steps)} if steps > 0:
            return steps
    raise WorldwidthError(f"{SCHEDULE}: no number of pretraining_steps; {remedy}")


if __name__ == "__main__":
    run_stage(main)
