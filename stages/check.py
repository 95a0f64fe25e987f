"""Refuse a broken params.yaml or a stale dvc.yaml before anything runs: `dvc repro check`."""

from worldwidth.engine.stage_main import run_stage

from pathlib import Path

from worldwidth.core.files import write_text
from worldwidth.pipeline.stages import CHECKED
from worldwidth.settings.schema import Settings


def main(settings: Settings, fingerprint: str) -> None:
    """The checks themselves ran before this; ``fingerprint`` re-runs the stage when the structure changes.

    The file says the same after every successful check, so that nothing behind this stage re-runs for it.
    """
    write_text(Path("data/checked.txt"), CHECKED)


if __name__ == "__main__":
    run_stage(main, "FINGERPRINT")
