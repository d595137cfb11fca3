"""What a network is: blocks in a graph, the two passes through it, objectives, and the check of every derivative."""
