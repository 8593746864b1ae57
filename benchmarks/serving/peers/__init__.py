"""Applications to compare the service with; they run in its environment, on its database."""
