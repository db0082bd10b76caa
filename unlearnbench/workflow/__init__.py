"""A suite from its file to its leaderboard and pictures: what the command line and the library do in the same way."""
