"""Restyle single items inside an actor."""
