"""`python -m blockprop` is the command line."""

from blockprop.cli import run

run()
