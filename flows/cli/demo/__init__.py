"""The input images of `stylegallery demo`."""
