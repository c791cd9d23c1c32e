"""Reads Grafana dashboards with Grafana's own models, strictly.

Enters: dashboards' files. Leaves: 0, or 1 and a line for each thing that Grafana's schema does not have. The models are
those of the Grafana Foundation SDK, which are generated from Grafana's schema; they take whatever they are given, so here
every value is held against the type that its model declares, and what they give back against the file.

Never: needs a Grafana; looks at what an expression means (host/tests/it/deploy does).
"""

import enum
import json
import sys
import types
import typing

from grafana_foundation_sdk.cog import plugins, runtime
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard, units


ANYTHING = (typing.Any, object, typing.Optional[object], typing.Optional[typing.Any])


def mismatches(value, declared, where):
    """What is wrong with a value, as lines."""
    origin, arguments = typing.get_origin(declared), typing.get_args(declared)
    if declared in ANYTHING:
        return
    if origin in (typing.Union, types.UnionType):
        tried = [list(mismatches(value, one, where)) for one in arguments]
        if all(tried):
            yield from min(tried, key=len)
    elif origin is typing.Literal:
        if value not in arguments:
            yield f"{where}: {value!r} is none of {arguments}"
    elif origin is list:
        if not isinstance(value, list):
            yield f"{where}: {value!r} is no list"
        else:
            for number, one in enumerate(value):
                yield from mismatches(one, arguments[0], f"{where}[{number}]")
    elif origin is dict:
        if not isinstance(value, dict):
            yield f"{where}: {value!r} is no object"
        else:
            for key, one in value.items():
                yield from mismatches(one, arguments[1], f"{where}.{key}")
    elif isinstance(declared, type) and issubclass(declared, enum.Enum):
        if value not in [one.value for one in declared]:
            yield f"{where}: {value!r} is none of {[one.value for one in declared]}"
    elif declared is float:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            yield f"{where}: {value!r} is no number"
    elif hasattr(declared, "from_json") and isinstance(value, dict):
        # The models leave some of what is within them as it was.
        yield from strictly(declared, value, where)
    elif isinstance(declared, type):
        if not isinstance(value, declared) or declared is int and isinstance(value, bool):
            yield f"{where}: {value!r} is no {declared.__name__}"
        else:
            yield from fields(value, where)


def fields(model, where):
    """What is wrong with the fields of a model."""
    if not hasattr(model, "to_json"):
        return
    for name, declared in typing.get_type_hints(type(model)).items():
        value = getattr(model, name)
        yield from mismatches(value, declared, f"{where}.{name}")
        # What is declared as anything can be a model of the panel's own.
        if declared in ANYTHING:
            yield from fields(value, f"{where}.{name}")


def strictly(declared, given, where):
    """What is wrong with what one model is made of."""
    try:
        model = declared.from_json(given)
    except Exception as error:  # the models fail in many ways, all of them of the file's making
        yield f"{where}: {type(error).__name__}: {error}"
        return
    yield from fields(model, where)
    yield from lost(given, json.loads(json.dumps(model, cls=JSONEncoder)), where)


def lost(given, kept, where):
    """What the models did not take over: fields that they don't know."""
    if isinstance(given, dict) and isinstance(kept, dict):
        for key, value in given.items():
            if key in kept:
                yield from lost(value, kept[key], f"{where}.{key}")
            else:
                yield f"{where}: Grafana's schema has no {key!r} here"
    elif isinstance(given, list) and isinstance(kept, list) and len(given) == len(kept):
        for number, (one, other) in enumerate(zip(given, kept)):
            yield from lost(one, other, f"{where}[{number}]")
    elif given != kept:
        yield f"{where}: {given!r} was read as {kept!r}"


def judged(path):
    """What is wrong with a dashboard's file."""
    with open(path, encoding="utf-8") as file:
        given = json.load(file)
    wrong = set(strictly(dashboard.Dashboard, given, path))
    # Of a panel that nobody knows the models say nothing.
    kinds = runtime.Runtime().panelcfg_variants.keys() | {"row"}
    wrong |= {f"{path}: Grafana has no panel {panel['type']!r}" for panel in given["panels"] if panel["type"] not in kinds}
    names = {unit for unit in vars(units).values() if isinstance(unit, str)}
    for panel in given["panels"]:
        unit = panel.get("fieldConfig", {}).get("defaults", {}).get("unit")
        if unit is not None and unit not in names:
            wrong.add(f"{path}: {panel['title']}: Grafana has no unit {unit!r}")
    return sorted(wrong)


def main(paths):
    plugins.register_default_plugins()
    wrong = [line for path in paths for line in judged(path)]
    print("\n".join(wrong) if wrong else f"{len(paths)} dashboards are as Grafana's schema has them")
    return bool(wrong) or not paths


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
