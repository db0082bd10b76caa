"""K copies of one model, trained or unlearned by one set of kernels."""
