"""Tests of stylegallery/benchmark."""
