"""What the tests stand on: database servers and rendered services."""
