"""Stands beside the module."""


def scaled(value):
    return value * 1.5


def of_client():
    import monitor_impl

    return monitor_impl.get_power
