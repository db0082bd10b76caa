"""Being here puts tests/ on the import path, for modules that tests share (sample_records)."""
