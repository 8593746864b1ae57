"""Measurements; each is a ratio of figures that were measured side by side in one run."""
