"""What a published model answers: a test line of every task, decoded as the evaluations are."""

from dataclasses import dataclass
from pathlib import Path

from worldwidth.data.corpus import StoredCorpus
from worldwidth.data.tokenizer import Vocabulary
from worldwidth.model.checkpoint import load_model
from worldwidth.model.generate import greedy_answers, true_answers
from worldwidth.native.compute import compute_of
from worldwidth.native.decoders import decoder_of
from worldwidth.settings.schema import Settings
from worldwidth.tasks import load_task


@dataclass(frozen=True)
class Example:
    """A test line, and the model's answer to it."""

    task: str
    prompt: str
    truth: str
    answer: str


def examples(settings: Settings, source: Path, remedy: str, population: str) -> list[Example]:
    """The first test line of every task, about ordinary cities or about Atlantis, and what the model says.

    Raises:
        WorldwidthError: the model or a corpus is missing or damaged.
    """
    scale = settings.selected
    vocabulary = Vocabulary(scale.model, scale.world)
    decode = decoder_of(*load_model(source, remedy), compute_of(scale.hardware, scale.hardware.threads))
    found: list[Example] = []
    for name in settings.tasks:
        task = load_task(name)
        lines = StoredCorpus(name).lines(population, "test").first(1)
        given = greedy_answers(decode, lines, task.max_new_tokens, scale.evaluation.batch_size)
        truth = true_answers(lines, task.max_new_tokens)
        prompt, _ = vocabulary.decode(lines.tokens[0].tolist()).split("=", 1)
        found.append(
            Example(name, f"{prompt}=", vocabulary.decode(truth[0].tolist()), vocabulary.decode(given[0].tolist()))
        )
    return found
