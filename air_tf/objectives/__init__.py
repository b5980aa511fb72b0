"""Objectives: estimators of the training loss, one in each file."""
