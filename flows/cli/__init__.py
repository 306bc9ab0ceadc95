"""The command line `stylegallery`."""
