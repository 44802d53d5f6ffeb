"""Where an integer file shall round once more, so that it need not round coarsely everywhere."""

from __future__ import annotations

import keras


@keras.saving.register_keras_serializable("gossamer")
class OwnRange(keras.layers.Identity):
    """Pass a tensor on as it is; in an integer file the copy has a range of its own.

    The inputs of a concatenation share one range there, and so do all others who read them. Put
    before it, this keeps a wide input of the concatenation from coarsening what goes on elsewhere
    (an encoder's features beside a decoder's). It costs a file with integers one operator, and
    files in float nothing.
    """
