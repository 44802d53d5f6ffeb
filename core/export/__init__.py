"""From a Keras network to a .tflite file that was checked; here the names of what can be chosen."""

PRECISIONS = ("float32", "float16", "dynamic", "weight_only", "int8", "int16x8")
CALIBRATED = ("int8", "int16x8")  # what needs samples
IO_TYPES = ("float32", "uint8", "int8")  # of an int8 file's inputs and outputs
CALIBRATORS = ("own", "converter")  # own fake quantizers, or the converter's as a cross-check
