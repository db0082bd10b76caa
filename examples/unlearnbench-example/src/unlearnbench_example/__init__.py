"""Plugins for unlearnbench that are installed like any package."""
