"""All that is written and read again: atomic files, networks, checkpoints, and runs that a file carries on."""
