"""Maps: what is kept of scans whose poses are known, so that a later scan is found among them."""

# At pixels of 0.4 m. Of untrained networks in a simulated town: of scans from another town 2 %
# reach it by chance.
LEAST_INLIERS = 12
CANDIDATES = 3
