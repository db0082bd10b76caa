"""Sources of images: one file, one dataset."""
