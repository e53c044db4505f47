"""Where EM starts, and how many starts are run on how many rows."""
