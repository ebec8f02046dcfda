"""Migrations of the database, run by `service.database`."""
