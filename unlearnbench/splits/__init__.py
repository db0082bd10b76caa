"""Which images are trained on, erased, stamped, held by the adversary, and drawn for shadows."""
