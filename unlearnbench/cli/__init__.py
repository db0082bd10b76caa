"""One verb, one file: what is typed, what is printed, exit codes; heavy imports inside the verbs."""
