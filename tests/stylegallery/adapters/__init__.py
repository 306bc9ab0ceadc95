"""Tests of stylegallery.adapters."""
