"""Tests of stylegallery/images."""
