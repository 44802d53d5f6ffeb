"""Graphs step by step, for tests of what a program does around a few steps of training."""

from contextlib import contextmanager


@contextmanager
def untraced():
    """Run graphs step by step: for a few steps that is quicker than tracing them once more."""
    import tensorflow as tf

    tf.config.run_functions_eagerly(True)
    try:
        yield
    finally:
        tf.config.run_functions_eagerly(False)
