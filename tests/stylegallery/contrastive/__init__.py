"""Tests of stylegallery.contrastive."""
