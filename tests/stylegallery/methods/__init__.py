"""Tests of stylegallery/methods."""
