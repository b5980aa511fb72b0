"""Objectives: pure functions from a model's output and its images to a loss."""
