"""Faults that a sweep must outlast, caused on purpose: whole processes killed, clocks, folders and links changed."""
