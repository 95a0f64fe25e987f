"""Pre-training the base model on the ordinary cities of all tasks."""

from worldwidth.core.errors import WorldwidthError
from worldwidth.core.files import read_json
from worldwidth.data.cities import load_cities
from worldwidth.data.corpus import StoredCorpus
from worldwidth.data.tokenizer import Vocabulary
from worldwidth.model.layout import DecoderConfig, initial_weights
from worldwidth.native.compute import compute_of
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
    corpora = {task: StoredCorpus(task) for task in settings.tasks}
    vocabulary = Vocabulary(scale.model, scale.world, load_cities(scale.world))
    config = DecoderConfig.of(scale, arch)
    run = Run(
        name="base",
        mixture=pretraining_mixture(corpora),
        validation=validation_mixture(corpora, settings.tasks, "world"),
        optimization=scale.pretraining,
        steps=_budgeted_steps(),
        seed=settings.seed,
        compute=compute_of(scale.hardware, scale.hardware.pretraining_threads),
    )
    weights = initial_weights(config, settings.seed)
    for _ in train_and_publish(config, weights, [run], vocabulary.save, scale.execution.resume_seconds):
        pass


def _budgeted_steps() -> int:
    """The steps that data/budget.json says."""
    remedy = "run `dvc repro budget`"
    match read_json(BUDGET, remedy):
        case {"pretraining_steps": int(steps)} if steps > 0:
            return steps
    raise WorldwidthError(f"{BUDGET}: no number of pretraining_steps; {remedy}")
