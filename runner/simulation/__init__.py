"""Deterministic simulation: instances, storms and stores drawn from a seed, and what must hold in each."""
