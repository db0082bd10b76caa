"""What is to be computed: YAML, experiments, settings, cells and tasks with their keys. No torch."""
