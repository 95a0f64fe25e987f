"""params.yaml as frozen dataclasses: every setting of the study, its type and its range."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from worldwidth.settings.cluster import Cluster, Jobs

_STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

Count = Annotated[int, Field(ge=1, le=10**9)]
CountOrZero = Annotated[int, Field(ge=0, le=10**9)]
Positive = Annotated[float, Field(gt=0, le=1e6)]
Beta = Annotated[float, Field(ge=0, lt=1)]
Range = tuple[Annotated[int, Field(ge=1, le=12)], Annotated[int, Field(ge=1, le=12)]]
Threads = Annotated[int, Field(ge=1, le=1024)]
Budget = Literal["epochs", "tokens", "flops"]
Name = Annotated[str, Field(pattern="^[a-z][a-z0-9_]{0,31}$")]  # part of names of files, stages and git refs
TaskName = Name
ModelName = Annotated[str, Field(pattern="^ftwb[1-9]-[0-9a-z]{1,32}$")]


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Atlantis:
    """The new entities: cities drawn around one point, never seen in pre-training."""

    cities: Annotated[int, Field(ge=2, le=999)]
    center: tuple[Annotated[float, Field(ge=-180, le=180)], Annotated[float, Field(ge=-90, le=90)]]
    """Longitude and latitude of the middle, in degrees."""
    std: Positive
    """Standard deviation of both coordinates, in degrees."""


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class World:
    """Which cities there are and where they lie on the flat plane."""

    source: Annotated[str, Field(min_length=1)]
    """``geonames`` (the packaged list) or the path of a list in a layout of GeoNames, in the project's folder."""
    cities: Annotated[int, Field(ge=10, le=30_000)]
    """How many of the most populous cities are taken."""
    min_population: CountOrZero
    units_per_degree: Annotated[int, Field(ge=1, le=100)]
    """The plane's unit: 10 makes it 0.1 degree, 1 whole degrees."""
    id_digits: Annotated[int, Field(ge=1, le=6)]
    atlantis: Atlantis
    seed: CountOrZero
    """Seeds the world and its queries. The top-level seed does not touch them."""


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Lines:
    """Lines per task and population."""

    train: Count
    validation: Count
    test: Count


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Corpus:
    """How many lines there are, and how large the queries of the variable-size tasks are."""

    world: Lines
    atlantis: Lines
    hull_cities: Range
    """inside: fewest and most cities that span the hull."""
    tour_cities: Range
    """perimeter: fewest and most cities on the tour."""


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Model:
    """What all widths share."""

    num_hidden_layers: Annotated[int, Field(ge=1, le=96)]
    initializer_range: Positive
    rms_norm_eps: Positive
    rope_theta: Positive
    tokens: Literal["characters", "cities"]
    """``characters``: one token a character. ``cities``: the group c_0123 is one token."""


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Arch:
    """One width variant."""

    hidden_size: Annotated[int, Field(ge=4, le=16_384)]
    intermediate_size: Annotated[int, Field(ge=4, le=65_536)]
    num_attention_heads: Annotated[int, Field(ge=1, le=256)]
    epochs: Count
    """Passes over the pre-training data under ``budget: epochs``."""


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Optimization:
    """One training run's optimiser, schedule and bookkeeping."""

    optimizer: Literal["adamw", "muon"]
    """``muon`` orthogonalises the layers' matrices and leaves the rest to AdamW."""
    learning_rate: Positive
    betas: tuple[Beta, Beta]
    epsilon: Positive
    weight_decay: Annotated[float, Field(ge=0, le=10)]
    max_grad_norm: Positive
    warmup_steps: CountOrZero
    decay_fraction: Annotated[float, Field(gt=0, le=1)]
    """Share of the steps after warm-up over which the rate falls linearly to 0; 1 is the published schedule."""
    batch_size: Annotated[int, Field(ge=1, le=65_536)]
    """Lines a step."""
    loss: Literal["all", "answer"]
    """Which tokens the loss counts: all real ones, or those after '='."""
    checkpoints: Annotated[int, Field(ge=0, le=1000)]
    """Checkpoints kept on the way, log-spaced, beside step 0 and the final model."""
    log_every: Count
    """Steps between two rows of the training curve."""


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Finetuning(Optimization):
    """Fine-tuning: the optimisation and the mixture (per trained task; warm-up lines per task of the study)."""

    epochs: Count
    world_lines: CountOrZero
    atlantis_lines: Count
    warmup_lines: CountOrZero


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Evaluation:
    """How the test sets are decoded."""

    batch_size: Annotated[int, Field(ge=1, le=65_536)]
    multitask_lines: Count
    """Lines of the pooled world test sets that make the multi-task evaluation."""


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Statistics:
    """How uncertainty is computed."""

    resamples: Annotated[int, Field(ge=100, le=1_000_000)]
    """Bootstrap resamples over test lines."""


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Hardware:
    """What the stages run on: tracked, for it can change a result's last bits. ``auto`` is tracked as that word."""

    device: Literal["auto", "cpu", "cuda"]
    """``auto``: an NVIDIA GPU where torch sees one, else the CPU. Apple's GPU (MPS) is not used."""
    engine: Literal["auto", "native", "torch"] = "auto"
    """What computes on a CPU: ``auto`` is the native step where it can be built, else torch. A GPU always has torch."""
    precision: Literal["auto", "float32", "bfloat16"]
    """Of training's matrix products: ``auto`` is bfloat16 on a GPU, float32 on a CPU. Evaluations are float32."""
    threads: Threads
    """CPU threads of a fine-tune and of an evaluation; several of these can run side by side."""
    pretraining_threads: Threads
    """CPU threads of pre-training, which nothing can run beside."""


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Execution:
    """How the stages are run: not tracked, for it changes no result."""

    models_per_job: Count
    """Fine-tuned models that one job trains and evaluates: in one process, and on a GPU as one stacked model."""
    resume_seconds: Annotated[float, Field(ge=0, le=86_400)] = 10
    """Seconds between two savings of a training run's state, from which it goes on after a kill. More where saving
    would take over a hundredth of the time."""
    silence_minutes: Annotated[float, Field(gt=0, le=10_080)] = 10
    """Minutes without a sign of life after which a line says that a stage still runs, and where in the code it is."""
    jobs: Jobs = Jobs()
    """What the jobs of `make slurm` ask for."""


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Scale:
    """How big everything is."""

    world: World
    corpus: Corpus
    model: Model
    archs: Annotated[dict[Name, Arch], Field(min_length=1, max_length=64)]
    pretraining: Optimization
    finetuning: Finetuning
    evaluation: Evaluation
    statistics: Statistics
    hardware: Hardware
    execution: Execution


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Settings:
    """The experiment matrix."""

    arch: str
    scale: str
    seed: CountOrZero
    budget: Budget
    """What rules the length of pre-training: each width's own ``epochs``, or the tokens or FLOPs of ``reference``."""
    reference: str
    """The width whose tokens or FLOPs the others get."""
    tasks: Annotated[tuple[TaskName, ...], Field(min_length=2, max_length=32)]
    finetunes: Annotated[dict[ModelName, Annotated[tuple[TaskName, ...], Field(min_length=1)]], Field(min_length=1)]
    scales: Annotated[dict[Name, Scale], Field(min_length=1, max_length=64)]
    cluster: Cluster = Cluster()

    @property
    def selected(self) -> Scale:
        """The scale that ``scale`` names."""
        return self.scales[self.scale]

    @property
    def selected_arch(self) -> Arch:
        """The width that ``arch`` names, at the selected scale."""
        return self.selected.archs[self.arch]

    @property
    def models(self) -> tuple[str, ...]:
        """Names of all models of one width: the base model, then the fine-tuned ones."""
        return ("base", *self.finetunes)
