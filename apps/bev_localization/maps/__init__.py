"""Maps: what is kept of scans whose poses are known, so that a later scan is found among them."""
