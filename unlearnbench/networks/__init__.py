"""Built-in networks: one file, one plugin of kind `model`."""
