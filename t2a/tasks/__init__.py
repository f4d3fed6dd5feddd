"""Trainables: their networks, what to descend at a step, how to evaluate."""
