"""Image files to pictures and back: formats, color profiles, metadata."""
