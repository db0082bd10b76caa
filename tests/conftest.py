"""Being here puts tests/ on the import path, for modules that tests share (sample_records, small_worlds)."""

import os

# Before torch is imported: small kernels with more than one thread are slower, and many times so on a busy machine.
for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[variable] = "1"
