"""Train the embedded model with `python -m stylegallery.training.train`."""
