"""Names of models and of the stages that make them."""

from worldwidth.core.errors import WorldwidthError, nearest
from worldwidth.settings.schema import Settings


def known_model(settings: Settings, name: str) -> str:
    """Return ``name`` if it is a model of params.yaml.

    Raises:
        WorldwidthError: it is not.
    """
    if name not in settings.models:
        raise WorldwidthError(
            f"model '{name}': not in params.yaml; allowed: {', '.join(settings.models)}{nearest(name, settings.models)}"
        )
    return name


def stage_of(model: str) -> str:
    """The DVC stage that makes a model: base -> base, ftwb2-12 -> ftwb2@12."""
    return model.replace("-", "@", 1)
