"""A static site of results: `sources` reads them, `pages` says what stands where, `plots` draws, `writing` writes.

The pages need no server, no build step and nothing from another host. All text of records and plugins reaches them
through Jinja's autoescaping, and names of files through `naming.slug`.
"""
