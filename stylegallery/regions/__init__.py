"""Find semantic regions, describe them, and read region maps from images."""
