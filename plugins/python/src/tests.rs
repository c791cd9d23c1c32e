//! The plugin on a host in memory, as far as it goes without a Python.
