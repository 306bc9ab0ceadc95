"""Tests of stylegallery/sampling."""
