"""Tables: files of text cells, what each column is taken for, and how its cells become numbers."""
