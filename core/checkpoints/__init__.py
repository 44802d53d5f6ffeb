"""Published checkpoints: read without PyTorch, load by name.

    state = read("mk_unet.pth")
    report = load_torch_state(model, state)

Importing the package is light; Keras is imported with the first of the loading functions.
"""

from importlib import import_module

from core.checkpoints.reading import read

__all__ = ["Report", "load_torch_state", "parameter_shapes", "read", "torch_state"]


def __getattr__(name: str):
    if name in __all__:
        return getattr(import_module("core.checkpoints.loading"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
