"""Generators and discriminators, without losses."""
