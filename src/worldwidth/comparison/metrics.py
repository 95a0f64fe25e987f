"""The headline numbers of a run: means over the cells of one matrix, trained or not."""

from dataclasses import dataclass

from worldwidth.comparison.runs import BASE, RETENTION, SKILL, over_control
from worldwidth.core.text import MINUS
from worldwidth.evaluation.scores import CONTROL, DIFFERENCE, control_of, matrix_names, matrix_of
from worldwidth.settings.schema import Settings


@dataclass(frozen=True)
class Metric:
    """A headline number of one run: the mean over cells of one matrix."""

    matrix: str
    trained: bool | None
    """Trained cells, the others, or (None) all."""
    label: str
    meaning: str
    models: frozenset[str]
    """Whose cells it is over."""

    def possible_cells(self, settings: Settings) -> int:
        """Cells that it is over where all are measurable."""
        if self.trained is None:
            return len(settings.tasks)
        trained = sum(len(settings.finetunes[model]) for model in self.models)
        return trained if self.trained else len(self.models) * len(settings.tasks) - trained


_IMPROVEMENT = "normalised improvement on Atlantis: 0 as the base model there, 1 as it is on ordinary cities"
_KEPT = "fine-tuned models on ordinary cities: 1 as before fine-tuning, 0 as the base model on Atlantis"
_SKILL = "1 is no error, 0 the best constant answer: a scale that knows no base model"
_SPECIALIST = "score minus the better single-task specialist's"
_CONTROL = "the model that is fine-tuned on no task, but on the warm-up lines that all have: the zero of transfer"
_OVER_CONTROL = "transfer minus the control's score in the same tasks: what training in another task adds"


def metrics_of(settings: Settings) -> dict[str, Metric]:
    """The headline metrics that the study's fine-tunes allow, in the order in which they are shown."""
    finetunes, control = settings.finetunes, control_of(settings.finetunes)
    taught = frozenset(finetunes) - {control}
    found: dict[str, Metric] = {}
    for name in (name for name in matrix_names(finetunes) if name not in (CONTROL, DIFFERENCE)):
        models, title = frozenset(model for model in taught if matrix_of(model) == name), name.upper()
        found[f"{name}_trained"] = Metric(name, True, f"{title} trained", _IMPROVEMENT, models)
        found[f"{name}_transfer"] = Metric(name, False, f"{title} transfer", _IMPROVEMENT, models)
        if control:
            label = f"{title} transfer {MINUS} control"
            found[f"{name}_transfer_minus_control"] = Metric(over_control(name), False, label, _OVER_CONTROL, models)
    several = frozenset(model for model, trained in finetunes.items() if len(trained) > 1)
    if several:
        label = f"pairs {MINUS} expected"
        found["difference_trained"] = Metric(DIFFERENCE, True, f"{label}, trained", _SPECIALIST, several)
        found["difference_transfer"] = Metric(DIFFERENCE, False, f"{label}, transfer", _SPECIALIST, several)
    if control:
        found["control"] = Metric(CONTROL, False, "control (no task)", _CONTROL, frozenset({control}))
    if taught:
        found["retention_trained"] = Metric(RETENTION, True, "retention, trained tasks", _KEPT, taught)
        found["retention_other"] = Metric(RETENTION, False, "retention, other tasks", _KEPT, taught)
        found["skill_trained"] = Metric(SKILL, True, "Atlantis skill, trained", _SKILL, taught)
        found["skill_transfer"] = Metric(SKILL, False, "Atlantis skill, transfer", _SKILL, taught)
    base = frozenset({"base"})
    return {**found, "base_skill": Metric(BASE, None, "base model's skill", f"ordinary cities; {_SKILL}", base)}
