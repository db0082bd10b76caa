"""Every value that a user can set: scenario, access, parameters; how they are checked, gridded and named. No torch."""
