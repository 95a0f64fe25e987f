"""What takes the steps of training runs: on a CPU one run in parts, on a GPU several runs as one."""

from typing import Protocol

from worldwidth.training.run import Training


class Engine(Protocol):
    """The next steps of some runs, side by side."""

    def step(self) -> list[int]:
        """Take the next step of every run; return how many tokens each has read."""
        ...

    def fetch_losses(self) -> None:
        """Add losses and gradient norms of the steps since the last call to each run's ``losses`` and ``norms``."""
        ...

    def fetch_weights(self) -> None:
        """Bring each run's weights and moments up to date; until then they may be those of an earlier step."""
        ...

    def validation_loss(self, training: Training) -> float:
        """Mean loss in nats over all counted tokens of the run's validation lines, in float32."""
        ...


def engine_of(trainings: list[Training]) -> Engine:
    """The engine for runs of one kind; imports torch only where it computes with it."""
    run = trainings[0].run
    if run.compute.device == "cuda" or len(trainings) > 1:
        from worldwidth.training.stacked_engine import StackedEngine

        return StackedEngine(trainings)
    from worldwidth.training.cpu_engine import CpuEngine

    if run.compute.engine == "native":
        from worldwidth.training.native_step import NativeStep

        return CpuEngine(trainings[0], NativeStep(trainings[0]))
    from worldwidth.training.torch_step import TorchStep

    return CpuEngine(trainings[0], TorchStep(trainings[0]))
