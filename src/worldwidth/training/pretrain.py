"""Pre-training the base model on the ordinary cities of all tasks."""

from worldwidth.data.corpus import StoredCorpus
from worldwidth.data.tokenizer import Vocabulary
from worldwidth.model.layout import DecoderConfig
from worldwidth.model.parametrization import initial_weights
from worldwidth.native.compute import compute_of
from worldwidth.settings.recipe import read_pretraining
from worldwidth.settings.schema import Settings
from worldwidth.training.mixture import pretraining_mixture, validation_mixture
from worldwidth.training.publish import train_and_publish
from worldwidth.training.run import Run


def pretrain(settings: Settings) -> None:
    """Train the base model from scratch and write its files.

    Raises:
        WorldwidthError, OSError: an input is missing, or the run diverged or could not be written.
    """
    scale, recipe = settings.selected, read_pretraining()
    corpora = {task: StoredCorpus(task) for task in settings.tasks}
    vocabulary = Vocabulary(scale.model, scale.world)
    config = DecoderConfig.of(scale, recipe.sizes)
    run = Run(
        name="base",
        mixture=pretraining_mixture(corpora, recipe.optimization.atlantis),
        validation=validation_mixture(corpora, settings.tasks, "world"),
        optimization=recipe.optimization,
        steps=recipe.steps,
        seed=settings.seed,
        compute=compute_of(scale.hardware, scale.hardware.pretraining_threads),
        width_ratio=recipe.width_ratio,
    )
    weights = initial_weights(config, settings.seed, recipe.width_ratio)
    for _ in train_and_publish(config, weights, [run], vocabulary.save, scale.execution.resume_seconds):
        pass
