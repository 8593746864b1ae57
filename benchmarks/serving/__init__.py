"""How fast the rendered service answers and starts, beside others that do the same work."""
