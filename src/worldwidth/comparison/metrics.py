"""The headline numbers of a run: means over the cells of one matrix, trained or not."""

from dataclasses import dataclass

from worldwidth.comparison import labels
from worldwidth.comparison.labels import of_cells
from worldwidth.comparison.runs import BASE, LOG_SKILL, RETENTION, SKILL, over_control
from worldwidth.core.text import plural
from worldwidth.evaluation.scores import CONTROL, DIFFERENCE, compared_with_specialists, control_of, matrix_of
from worldwidth.settings.schema import Settings, is_plug_in


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


_IMPROVEMENT = f"{labels.IMPROVEMENT} on Atlantis: 0 as the base model there, 1 as it is on ordinary cities"
_KEPT = "fine-tuned models on ordinary cities: 1 as before fine-tuning, 0 as the base model on Atlantis"
_SKILL = "1 is no error, 0 the best constant answer: a scale that knows no base model"
_LOG_SKILL = "ln(error of the best constant answer / error): 0 is no better than it, each 0.69 halves the error"
_SPECIALIST = "score minus the better single-task specialist's"
_CONTROL = "the model that is fine-tuned on no task, but on the warm-up lines that all have: the zero of transfer"
_OVER_CONTROL = "transfer minus the control's score in the same tasks: what training in another task adds"


def metrics_of(settings: Settings) -> dict[str, Metric]:
    """The headline metrics that the study's fine-tunes allow, in the order in which they are shown."""
    finetunes, control = settings.finetunes, control_of(settings.finetunes)
    taught = frozenset(model for model in finetunes if not is_plug_in(model)) - {control}
    found: dict[str, Metric] = {}
    for name in dict.fromkeys(map(matrix_of, finetunes)):
        if is_plug_in(name):
            found |= _plugged_in(settings, name)
        if name == CONTROL or is_plug_in(name):
            continue
        models, title = frozenset(model for model in taught if matrix_of(model) == name), name.upper()
        found[f"{name}_trained"] = Metric(name, True, of_cells(title, True), _IMPROVEMENT, models)
        found[f"{name}_transfer"] = Metric(name, False, of_cells(title, False), _IMPROVEMENT, models)
        if control:
            label = labels.over_control(title)
            found[f"{name}_transfer_minus_control"] = Metric(over_control(name), False, label, _OVER_CONTROL, models)
    several = frozenset(compared_with_specialists(finetunes))
    if several:
        found["difference_trained"] = Metric(DIFFERENCE, True, of_cells(labels.GAIN, True), _SPECIALIST, several)
        found["difference_transfer"] = Metric(DIFFERENCE, False, of_cells(labels.GAIN, False), _SPECIALIST, several)
    if control:
        found["control"] = Metric(CONTROL, False, labels.CONTROL, _CONTROL, frozenset({control}))
    if taught:
        found["retention_trained"] = Metric(RETENTION, True, of_cells(labels.RETENTION, True), _KEPT, taught)
        found["retention_other"] = Metric(RETENTION, False, of_cells(labels.RETENTION, False), _KEPT, taught)
        found |= _skills(SKILL, "skill", labels.SKILL, _SKILL, taught, control)
    for name in dict.fromkeys(matrix_of(model) for model in finetunes if model in taught):
        models = frozenset(model for model in taught if matrix_of(model) == name)
        log_label = f"{name.upper()} {labels.LOG_SKILL}"
        found |= _skills(LOG_SKILL, f"{name}_log_skill", log_label, _LOG_SKILL, models, control)
    base = frozenset({"base"})
    return {**found, "base_skill": Metric(BASE, None, labels.BASE_SKILL, f"ordinary cities; {_SKILL}", base)}


def _plugged_in(settings: Settings, name: str) -> dict[str, Metric]:
    """Those of the models that learn new entities on a frozen map, each from as many tasks as ``name`` says."""
    models = frozenset(model for model in settings.finetunes if matrix_of(model) == name)
    count = len(settings.finetunes[next(iter(models))])
    title = f"plug-in ({plural(count, 'task')})"
    found = {f"{name}_trained": Metric(name, True, of_cells(title, True), _IMPROVEMENT, models)}
    if count < len(settings.tasks):
        found[f"{name}_transfer"] = Metric(name, False, of_cells(title, False), _IMPROVEMENT, models)
    return found


def _skills(
    matrix: str, name: str, label: str, meaning: str, models: frozenset[str], control: str | None
) -> dict[str, Metric]:
    """A skill in the tasks trained and in the others, there minus the control's, too."""
    found = {
        f"{name}_trained": Metric(matrix, True, of_cells(label, True), meaning, models),
        f"{name}_transfer": Metric(matrix, False, of_cells(label, False), meaning, models),
    }
    if control:
        over = Metric(over_control(matrix), False, labels.over_control(label), _OVER_CONTROL, models)
        found[f"{name}_transfer_minus_control"] = over
    return found
