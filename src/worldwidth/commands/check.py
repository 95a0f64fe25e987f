"""`worldwidth render` and `worldwidth check`: does dvc.yaml say what params.yaml says, and dvc.lock what is here?

And does the reading in docs/findings.md say what the tables say?
"""

from worldwidth.comparison.declared import check_analysis
from worldwidth.core.errors import WorldwidthError
from worldwidth.dvcio.fingerprint import check_lock, former_stages
from worldwidth.dvcio.lockfile import drop_stages, read_lock
from worldwidth.pipeline.render import check_rendered, stale_files, write_rendered
from worldwidth.report.reading import FINDINGS, check_reading
from worldwidth.settings.schema import Settings


def run_render(settings: Settings, check: bool) -> None:
    """Write the generated files that are not up to date, and drop from dvc.lock what dvc.yaml has no more.

    Raises:
        WorldwidthError: with ``check``, which writes nothing, there are some.
    """
    from worldwidth.plots.dvc_charts import charts  # with matplotlib, which `check` does not need

    if check:
        stale = ", ".join(map(str, stale_files(settings, charts(settings))))
        if stale:
            raise WorldwidthError(f"not up to date with params.yaml and the template: {stale}; run `make render`")
        print("dvc.yaml, docs/params.schema.json and templates/plots match params.yaml and the template")
    else:
        changed = write_rendered(settings, charts(settings))
        former = former_stages(read_lock(), settings)
        if former:
            drop_stages(former)
            print(f"dropped from dvc.lock, for dvc.yaml has them no more: {', '.join(former)}")
        if changed or not former:
            print("wrote " + ", ".join(map(str, changed)) if changed else "nothing to do: up to date")


def run_check(settings: Settings, lock: bool) -> None:
    """Compare dvc.yaml, and with ``lock`` dvc.lock and the committed results, with what they are made from.

    Raises:
        WorldwidthError: they differ (the first difference is named), the declared metric is none, or a number of the
            reading is not that of its table.
    """
    check_analysis(settings)
    check_rendered(settings)
    print("params.yaml is sound, and dvc.yaml is its rendering")
    if reading := check_reading():
        print(f"{FINDINGS}: {len(reading.numbers)} numbers are those of the comparison {reading.comparison}")
    if lock:
        check_lock(settings)
        print("dvc.lock holds this code, these params and the committed results")
