"""Which Keras layers and operations the quantizing rewrite knows, by what they do to values."""

from __future__ import annotations

import keras

WEIGHTED = (
    keras.layers.Conv2D,
    keras.layers.DepthwiseConv2D,
    keras.layers.Conv2DTranspose,
    keras.layers.Dense,
)
FUSED_ACTIVATIONS = ("relu", "relu6")
# Operators that move values without computing new ones: TFLite demands (or the kernels assume)
# the same scale on both sides.
MOVING = {
    "AlphaDropout", "BroadcastTo", "ChannelShuffle", "Cropping1D", "Cropping2D", "DepthToSpace",
    "Dropout", "ExpandDims", "Flatten", "Flip", "GaussianDropout", "GaussianNoise", "GetItem",
    "GlobalMaxPooling1D", "GlobalMaxPooling2D", "Identity", "Max", "MaxPooling1D",
    "MaxPooling2D", "Moveaxis", "NearestResize", "NearestUpsampling", "Pad", "Permute", "Ravel",
    "Repeat", "RepeatVector", "Reshape", "Roll", "SpaceToDepth", "SpatialDropout1D",
    "SpatialDropout2D", "Split", "Squeeze", "StopGradient", "Swapaxes", "Tile", "Transpose",
    "UpSampling1D", "ZeroPadding1D", "ZeroPadding2D",
}  # fmt: skip
# Operators that average neighbours: the same scale on both sides, but their results are rounded.
AVERAGING = {
    "AveragePooling1D", "AveragePooling2D", "BilinearUpsampling", "Resize", "Resizing",
    "UpSampling2D",
}  # fmt: skip
# Operators whose inputs and output must share one scale.
JOINING = {"Concatenate", "Stack", "Maximum", "Minimum"}
# Elementwise operators of two tensors.
PAIRED = {"Add", "Subtract", "Multiply"}
# Operators with an integer kernel whose output has a range of its own.
COMPUTING = {
    "Abs", "Absolute", "Activation", "AddEpsilon", "ChannelMean", "Clip", "ELU", "Elu", "Exp",
    "Gelu",
    "GlobalAveragePooling1D", "GlobalAveragePooling2D", "HardSilu", "InverseRoot", "LeakyReLU",
    "LeakyRelu", "MaskSum", "MatMul", "Matmul", "Mean", "PReLU", "ReLU", "Relu", "Relu6", "Rsqrt",
    "Sigmoid", "Softmax", "SquareRoot", "Sum", "Table", "Tanh",
}  # fmt: skip
ACTIVATIONS = (
    "linear", "relu", "relu6", "sigmoid", "softmax", "tanh", "gelu", "hard_silu", "leaky_relu",
    "elu", "exponential",
)  # fmt: skip
# Where kernels take what lies half-way between two codes: up, to the even one, away from zero.
TIES = {
    "BilinearUpsampling": "up", "Resize": "up", "Resizing": "up", "UpSampling2D": "up",
    "ChannelMean": "even", "GlobalAveragePooling1D": "even", "GlobalAveragePooling2D": "even",
    "Mean": "even", "AveragePooling1D": "away", "AveragePooling2D": "away",
}  # fmt: skip
