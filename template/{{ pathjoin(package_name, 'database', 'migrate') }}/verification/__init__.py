"""Verification of migrations in a scratch database: their tables, and the rows in them."""
