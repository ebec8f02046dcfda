"""Thin handlers, one file a resource."""
