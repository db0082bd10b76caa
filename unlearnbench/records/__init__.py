"""One row per cell and metric: schema, checked writing, reading, the record folder."""
