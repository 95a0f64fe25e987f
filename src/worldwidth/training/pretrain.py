"""Pre-training the base model on the ordinary cities of all tasks."""

import torch

from worldwidth.core.errors import WorldwidthError
from worldwidth.core.files import read_json
from worldwidth.data.cities import load_cities
from worldwidth.data.corpus import StoredCorpus
from worldwidth.data.random_streams import torch_seed
from worldwidth.data.tokenizer import Vocabulary
from worldwidth.model.decoder import Decoder, DecoderConfig
from worldwidth.model.device import in_bfloat16, prepare
from worldwidth.settings.paths import BUDGET
from worldwidth.settings.schema import Settings
from worldwidth.training.mixture import pretraining_mixture, validation_mixture
from worldwidth.training.publish import train_and_publish
from worldwidth.training.run import Run


def pretrain(settings: Settings) -> None:
    """Train the base model from scratch and write its files.

    Raises:
        WorldwidthError, OSError: an input is missing, or the run diverged or could not be written.
    """
    scale, arch = settings.selected, settings.selected_arch
    device = prepare(scale.hardware)
    corpora = {task: StoredCorpus(task) for task in settings.tasks}
    vocabulary = Vocabulary(scale.model, scale.world, load_cities(scale.world))
    model = Decoder(DecoderConfig.of(scale, arch))
    model.initialize(torch.Generator().manual_seed(torch_seed(settings.seed, "initialization")))
    run = Run(
        name="base",
        mixture=pretraining_mixture(corpora),
        validation=validation_mixture(corpora, settings.tasks, "world"),
        optimization=scale.pretraining,
        steps=_budgeted_steps(),
        seed=settings.seed,
        device=device,
        bfloat16=in_bfloat16(scale.hardware, device),
        threads=scale.hardware.pretraining_threads,
    )
    train_and_publish(model, run, vocabulary.save, scale.execution.resume_seconds)


def _budgeted_steps() -> int:
    """The steps that data/budget.json says."""
    remedy = "run `dvc repro budget`"
    match read_json(BUDGET, remedy):
        case {"pretraining_steps": int(steps)} if steps > 0:
            return steps
    raise WorldwidthError(f"{BUDGET}: no number of pretraining_steps; {remedy}")
