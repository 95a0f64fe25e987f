"""`execution.tensorboard`: training curves for TensorBoard while they grow: `tensorboard --logdir FOLDER`.

TensorBoard comes with the extra of that name, `pip install -e '.[tensorboard]'`. Nothing reads these files again: the
curves of a study are those in results/training/.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from worldwidth.core.errors import WorldwidthError
from worldwidth.core.progress import Standing

Write = Callable[[str, float, Standing], None]
"""Takes the name of a training for people, seconds since the epoch, and how far it is."""
_SECONDS_BETWEEN_WRITES = 2


@contextmanager
def board(folder: str) -> Iterator[Write]:
    """Inside, what is written appears below ``folder``, a run for each training; nothing does where that is empty.

    Raises:
        WorldwidthError: TensorBoard is not installed, or the folder cannot be written.
    """
    if not folder:
        yield lambda name, moment, standing: None
        return
    try:
        from tensorboard.compat.proto.event_pb2 import Event  # type: ignore[import-untyped]
        from tensorboard.compat.proto.summary_pb2 import Summary  # type: ignore[import-untyped]
        from tensorboard.summary.writer.event_file_writer import EventFileWriter  # type: ignore[import-untyped]
    except ImportError:
        raise WorldwidthError(
            f"execution.tensorboard: found {folder!r}, but TensorBoard is not installed; run `pip install -e "
            "'.[tensorboard]'`, or leave that key out"
        ) from None
    writers: dict[str, Any] = {}
    with ExitStack() as open_files:

        def write(name: str, moment: float, standing: Standing) -> None:
            if name not in writers:
                writers[name] = _opened(EventFileWriter, Path(folder) / name.replace(": ", "/").replace("@", "-"))
                open_files.callback(writers[name].close)
            figures = {"loss": standing.loss, "tokens a second": standing.tokens_per_second}
            values = [Summary.Value(tag=tag, simple_value=value) for tag, value in figures.items()]
            writers[name].add_event(Event(wall_time=moment, step=standing.step, summary=Summary(value=values)))

        yield write


def _opened(writer: Any, folder: Path) -> Any:
    try:
        return writer(str(folder), flush_secs=_SECONDS_BETWEEN_WRITES)
    except OSError as error:
        raise WorldwidthError(f"execution.tensorboard: {folder}: {error.strerror}") from None
