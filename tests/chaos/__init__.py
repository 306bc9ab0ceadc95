"""A run under all that can go wrong at once, and the proof that nothing of it shows."""
