"""Tests of stylegallery/guidance."""
