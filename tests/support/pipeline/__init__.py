"""Tiny sweeps, drivers in other processes, and exports."""
