"""What is measured: the catalogue of metrics, and the statistics around them."""
