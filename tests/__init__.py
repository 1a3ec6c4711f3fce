"""Tests, which mirror the tree, and what they share."""
