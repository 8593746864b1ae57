"""Tools to maintain the template. CONTRIBUTING.md explains how to run them."""
