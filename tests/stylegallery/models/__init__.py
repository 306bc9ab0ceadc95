"""Tests of stylegallery/models."""
