"""A static site of results: `results_folders` reads, `pages` lays out, `plots` draws, `writing` writes.

The pages need no server, no build step and nothing from another host. All text from records and plugins passes
Jinja's autoescaping, and all file names pass `naming.slug`.
"""
