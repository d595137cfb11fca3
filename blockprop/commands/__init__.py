"""The commands of the command line, a file for each with its name; cli.py registers them."""
