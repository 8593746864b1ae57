"""What maintains the template; CONTRIBUTING.md shows how to call it."""
