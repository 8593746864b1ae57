"""What is measured; CONTRIBUTING.md shows how to call it."""
