"""Close a run: write the result tables, verify them, explain an item."""
