"""What is shown of a network and of a run: diagrams, plots, costs, and one page of it all."""
