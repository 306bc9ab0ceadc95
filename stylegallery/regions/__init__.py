"""Find semantic regions, describe them, and read and write region maps as images."""
