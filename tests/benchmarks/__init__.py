"""Measurements that are run by hand: figures for the README, not tests."""
