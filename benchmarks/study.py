"""A scale of params.yaml with its cities and vocabulary, changed where a benchmark needs fewer lines."""

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from worldwidth.data import make_corpus
from worldwidth.data.cities import City
from worldwidth.data.corpus import StoredCorpus
from worldwidth.data.make_cities import make_cities
from worldwidth.data.tokenizer import Vocabulary
from worldwidth.settings.load import load
from worldwidth.settings.paths import ATLANTIS_CORPORA, CORPORA
from worldwidth.settings.schema import Lines, Scale, Sizes

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Study:
    """What all benchmarks of one scale share."""

    tasks: tuple[str, ...]
    scale: Scale
    seed: int

    @cached_property
    def cities(self) -> list[City]:
        """All cities, Atlantis's last."""
        return make_cities(self.scale.world)

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """The token ids of this world."""
        return Vocabulary(self.scale.model, self.scale.world)

    def sizes(self, arch: str) -> Sizes:
        """Those of the arch of that name."""
        return self.scale.sizes_of(self.scale.archs[arch])

    def with_lines(self, train: int, test: int) -> "Study":
        """The same study with these many lines a task, for both populations."""
        both = Lines(train=train, validation=16, test=test)
        return replace(self, scale=replace(self.scale, corpus=replace(self.scale.corpus, world=both, atlantis=both)))

    def write_corpora(self, folder: Path) -> dict[str, StoredCorpus]:
        """Draw every task's corpora, and keep them as a project in ``folder`` does."""
        for population, corpora in (("world", CORPORA), ("atlantis", ATLANTIS_CORPORA)):
            for task in self.tasks:
                splits = make_corpus.generate(self.scale, task, population, self.cities)
                make_corpus.save(task, population, splits, folder / corpora / task)
        return {task: StoredCorpus(task, folder) for task in self.tasks}


def load_study(scale: str, params: Path = ROOT / "params.yaml") -> Study:
    """The scale of that name as params.yaml has it."""
    settings = load(params)
    return Study(settings.tasks, settings.scales[scale], settings.seed)
