"""Where one model has the cities, read off its residual stream: `dvc repro represent@base`."""

from worldwidth.engine.stage_main import run_stage

from worldwidth.representation.represent import represent_and_save
from worldwidth.settings.names import known_model
from worldwidth.settings.schema import Settings


def main(settings: Settings, name: str) -> None:
    """params: tasks, world, model; models/NAME, the cities -> results/representations/NAME.csv and NAME.npz"""
    represent_and_save(settings, known_model(settings, name))


if __name__ == "__main__":
    run_stage(main, "NAME")
