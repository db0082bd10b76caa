"""What a process shares between all plugins, and the guard that keeps it as it is."""
