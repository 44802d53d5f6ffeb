"""Layers of the published networks that Keras does not have, one family a file.

Importing the package registers them, so that saved networks load.
"""

from core.layers import convolution, resize

__all__ = ["convolution", "resize"]
