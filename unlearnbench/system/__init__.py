"""This process and machine: errors, printing, seeds, files, the store, devices, threads. Nothing of the house."""
