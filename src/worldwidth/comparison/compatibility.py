"""May these runs be compared? They must have run with the same code, params and data; only the dials may differ."""

from worldwidth.core.errors import WorldwidthError
from worldwidth.dvcio.experiments import Experiment
from worldwidth.dvcio.fingerprint import Fingerprint, current, first_difference, ran_with
from worldwidth.pipeline.stages import STAGES, lies_in_git
from worldwidth.settings.paths import CORPORA

_DIALS = ("params arch", "params seed", "params budget")
_HERE = tuple(stage for stage in STAGES if stage.in_git or stage.content)
"""Stages whose code does not make the numbers: their tables and figures are made again by the comparison."""


def check_comparable(experiments: list[Experiment]) -> None:
    """Compare every experiment with the first.

    Raises:
        WorldwidthError: two were made under other conditions; the first difference is named.
    """
    first = experiments[0]
    for other in experiments[1:]:
        one, two = _conditions(first), _conditions(other)
        of_one_width = {entry for entry in one.keys() ^ two.keys() if ".archs." in entry}
        mine, theirs = ({entry: ran[entry] for entry in ran if entry not in of_one_width} for ran in (one, two))
        difference = first_difference(mine, theirs)
        if difference:
            raise WorldwidthError(
                f"{first.name} and {other.name} cannot be compared: the first ran with {difference}; "
                "`make widths` makes those again that are not of this code and these params"
            )


def _conditions(experiment: Experiment) -> Fingerprint:
    """What must be the same: the scale, all params but the dials, the code that makes numbers, the corpora."""
    lock = {n: record for n, record in current(experiment.lock, experiment.settings).items() if not lies_in_git(n)}
    numbers = ran_with({name: lock[name] for name in lock if not any(stage.has(name) for stage in _HERE)})
    found: Fingerprint = {"params scale": experiment.params.get("scale")}
    for entry, value in ran_with(lock).items():
        kind, name = entry.split(" ", 1)
        is_condition = {
            "params": entry not in _DIALS,
            "code": entry in numbers,
            "data": name.startswith(f"{CORPORA.as_posix()}/"),
        }
        if is_condition[kind]:
            found[entry] = value
    return found
