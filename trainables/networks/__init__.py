"""Generators and discriminators; nothing of losses."""
