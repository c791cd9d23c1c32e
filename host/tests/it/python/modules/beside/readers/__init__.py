"""A package beside the module."""
from .fast import FACTOR


def read():
    return 1.0 + FACTOR
