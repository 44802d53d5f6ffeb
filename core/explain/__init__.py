"""Why a classifier says what it says: maps of what counted, and how far a map can be believed."""

CAM_METHODS = ("grad-cam", "grad-cam++", "hires-cam")  # by gradients, which only Keras has
METHODS = (*CAM_METHODS, "lime", "occlusion")
REGIONS = ("quickshift", "slic", "squares")  # that LIME takes away
