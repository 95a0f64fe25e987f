"""Put the training lines about Atlantis where pre-training reads them, if it is to have them: `dvc repro added`."""

from worldwidth.engine.stage_main import run_stage

import shutil

from worldwidth.core.files import replacing_folder, write_json
from worldwidth.settings.paths import ADDED_CORPORA, ATLANTIS_CORPORA
from worldwidth.settings.schema import Settings


def main(settings: Settings) -> None:
    """params: pretraining.atlantis of the arch; data/atlantis -> data/added/

    Pre-training depends on this folder and not on data/atlantis, so that another draw of Atlantis trains no base model
    again that never saw it.
    """
    tasks = settings.tasks if settings.pretraining.atlantis else ()
    with replacing_folder(ADDED_CORPORA) as temporary:
        for task in tasks:
            (temporary / task).mkdir()
            for part in ("tokens", "lengths"):
                name = f"{task}/train.{part}.npy"
                shutil.copyfile(ATLANTIS_CORPORA / name, temporary / name)
        write_json(temporary / "tasks.json", list(tasks))
    print(f"added: {'the training lines about Atlantis' if tasks else 'nothing'}, for pre-training")


if __name__ == "__main__":
    run_stage(main)
