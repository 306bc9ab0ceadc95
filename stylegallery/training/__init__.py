"""Train the embedded model: `python -m stylegallery.training.train`."""
