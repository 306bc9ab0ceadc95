"""Tests of stylegallery/regions."""
