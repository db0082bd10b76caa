"""Tables for the terminal, files and pages."""
