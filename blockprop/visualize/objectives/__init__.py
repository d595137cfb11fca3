"""What an input can be made for: scores, activity, similarity of styles, and penalties."""
