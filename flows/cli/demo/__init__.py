"""The inputs of `stylegallery demo`."""
