"""From checkpoints to sound: `load` a model, then `generate`."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from t2a.generate.loading import Generator, load

__all__ = ["Generator", "load"]


def __getattr__(name: str) -> Any:
    """Import torch only when a name is used."""
    if name in __all__:
        from t2a.generate import loading

        return getattr(loading, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
