"""Merges the configuration of one environment and says where each value comes from.

Later layers win: config/common, then config/<environment>, then what is set at run time: the
variable SET, `key=value ...`, which every tool and the build see.
Mappings are merged key by key; everything else, lists among them, is replaced whole. A dataset's
quality rules are a mapping by rule name, whatever the list in their file.
"""

import argparse
import json
import os
import shlex
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator

from ops.datasets import dataset_faults, shared_faults
from ops.expectations import SuiteError, read_suite, rule_faults, rule_schema
from ops.pipe import until_closed

CONFIG_ROOT = Path(__file__).resolve().parents[2] / "config"
RUNTIME_VARIABLE = "SET"
RUNTIME = "runtime SET"

KeyPath = tuple[str | int, ...]


class ConfigurationError(Exception):
    """The configuration cannot be used; the message names each file, key and expectation."""


@dataclass(frozen=True)
class Config:
    """One environment's merged configuration.

    `values` is plain JSON data; `origins` maps the path of each leaf to the layer that set it.
    """

    values: dict[str, Any]
    origins: dict[KeyPath, str]

    def get(self, key: str) -> Any:
        """Returns the value at a dotted key; raises ConfigurationError with the known keys."""
        value: Any = self.values
        parts = key.split(".")
        for depth, part in enumerate(parts):
            if not isinstance(value, dict) or part not in value:
                parent = ".".join(parts[:depth]) or "the top level"
                known = ", ".join(value) if isinstance(value, dict) else "no keys: it is a value"
                raise ConfigurationError(f"{key}: no such key; {parent} has {known}")
            value = value[part]
        return value


def load_config(
    environment: str, overrides: Iterable[str] | None = None, root: Path = CONFIG_ROOT
) -> Config:
    """Merges and validates one environment's layers.

    `overrides` are `dotted.key=YAML` strings, those of the variable SET unless given. Raises
    ConfigurationError with a line for every fault, not only the first.
    """
    config = read_config(environment, overrides, root)
    if faults := list(dict.fromkeys(_faults(config, environment, root))):
        raise ConfigurationError("\n".join(faults))
    return config


def read_config(environment: str, overrides: Iterable[str] | None, root: Path) -> Config:
    """Merges one environment's layers without validating them: those of another commit follow other
    rules than today's."""
    known = known_environments(root)
    if environment not in known:
        raise ConfigurationError(
            f"{root}: no environment {environment!r}; known are {', '.join(known) or 'none'}"
        )
    values: dict[str, Any] = {}
    origins: dict[KeyPath, str] = {}
    for layer, origin in [
        *_folder_layers(root, "common"),
        *_folder_layers(root, environment),
        *((_parse_override(override), RUNTIME) for override in _overrides(overrides)),
    ]:
        values = merge(values, layer)
        origins |= {path: origin for path, _ in leaves(layer)}
    return Config(values, {path: origins[path] for path, _ in leaves(values)})


def _overrides(given: Iterable[str] | None) -> list[str]:
    if given is not None:
        return list(given)
    try:
        return shlex.split(os.environ.get(RUNTIME_VARIABLE, ""))
    except ValueError as error:
        raise ConfigurationError(
            f"{RUNTIME}: {error}; expected key=value, in quotes where the value has spaces"
        ) from error


def known_environments(root: Path = CONFIG_ROOT) -> list[str]:
    """Returns the folders beside `common` that have a settings file."""
    return sorted({file.parent.name for file in root.glob("*/settings.yaml")} - {"common"})


def merge(base: Any, overlay: Any) -> Any:
    """Returns `overlay` laid over `base`: mappings merged by key, anything else replaced."""
    if not isinstance(base, dict) or not isinstance(overlay, dict):
        return overlay
    return base | {key: merge(base.get(key), value) for key, value in overlay.items()}


def leaves(value: Any, path: KeyPath = ()) -> Iterator[tuple[KeyPath, Any]]:
    """Yields (path, value) of each leaf: whatever is not a mapping, and empty mappings."""
    if isinstance(value, dict) and value:
        for key, child in value.items():
            yield from leaves(child, (*path, key))
    else:
        yield path, value


# ---- reading -------------------------------------------------------------------------------------


class _StrictLoader(yaml.CSafeLoader):  # pylint: disable=too-many-ancestors
    """YAML as JSON knows it: no repeated keys, string keys only, dates stay strings.

    libyaml's parser is ten times faster than Python's, and every command reads the configuration.
    """

    yaml_implicit_resolvers = {
        first: [(tag, regexp) for tag, regexp in resolvers if not tag.endswith(":timestamp")]
        for first, resolvers in yaml.CSafeLoader.yaml_implicit_resolvers.items()
    }

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        first_lines: dict[str, int] = {}
        for key_node, _ in node.value:
            key, line = key_node.value, key_node.start_mark.line + 1
            if not key_node.tag.endswith(":str"):
                raise ConfigurationError(f"line {line}: expected a string as key, found {key}")
            if key in first_lines:
                raise ConfigurationError(
                    f"line {line}: key {key!r} repeats line {first_lines[key]}; keep one of them"
                )
            first_lines[key] = line
        return super().construct_mapping(node, deep)


def _parse_yaml(text: str, source: str) -> Any:
    try:
        return yaml.load(text, Loader=_StrictLoader)  # a SafeLoader
    except ConfigurationError as error:
        raise ConfigurationError(f"{source}: {error}") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        raise ConfigurationError(
            f"{source}: line {mark.line + 1}, column {mark.column + 1}: {error.problem}"
        ) from error
    except (yaml.YAMLError, UnicodeError) as error:
        raise ConfigurationError(f"{source}: {error}") from error


def _folder_layers(root: Path, folder: str) -> Iterator[tuple[dict, str]]:
    """Yields (values, origin) of a folder's settings and of each of its datasets."""
    files = [path for path in (root / folder).rglob("*") if path.is_file()]
    for file in sorted(files, key=lambda file: (len(file.parts), file)):  # settings first
        origin = f"{root.name}/{file.relative_to(root)}"
        is_dataset = file.parent == root / folder / "datasets" and file.suffix == ".yaml"
        is_suite = file.parent == root / folder / "expectations" and file.suffix == ".json"
        if not is_dataset and not is_suite and file != root / folder / "settings.yaml":
            raise ConfigurationError(
                f"{origin}: nothing reads this file; expected settings.yaml, datasets/<name>.yaml"
                " or expectations/<dataset>.json"
            )
        try:
            text = file.read_text(encoding="utf-8")
            if is_suite:
                rules = read_suite(text, file.stem)
                yield {"datasets": {file.stem: {"expectations": rules}}}, origin
                continue
            values = _parse_yaml(text, origin)
        except SuiteError as error:
            raise ConfigurationError(f"{origin}: {error}") from error
        except UnicodeDecodeError as error:
            raise ConfigurationError(f"{origin}: not UTF-8: {error}") from error
        values = {} if values is None else values
        if not isinstance(values, dict):
            raise ConfigurationError(f"{origin}: expected a mapping, found {_show(values)}")
        yield ({"datasets": {file.stem: values}} if is_dataset else values), origin


def _parse_override(override: str) -> dict:
    key, separator, text = override.partition("=")
    if not separator or not all(key.split(".")):
        raise ConfigurationError(f"{RUNTIME}: expected dotted.key=value, found {_show(override)}")
    value = _parse_yaml(text, f"{RUNTIME} {key}")
    for part in reversed(key.split(".")):
        value = {part: value}
    return value


# ---- checking ------------------------------------------------------------------------------------


def _faults(config: Config, environment: str, root: Path) -> Iterator[str]:
    settings = {key: value for key, value in config.values.items() if key != "datasets"}
    schemas = {
        name: json.loads((root / f"schemas/{name}.schema.json").read_text(encoding="utf-8"))
        for name in ("settings", "dataset", "expectations")
    }
    faults = list(_schema_faults(config, settings, (), schemas["settings"]))
    yield from faults
    if not faults:
        yield from _canary_faults(config, settings["release"]["canary"]["weights"])
    if settings.get("environment", environment) != environment:
        expected = f"{environment}, as its folder is called"
        yield _fault(config, ("environment",), expected, _show(settings["environment"]))
    yield from _promotion_faults(config, settings, environment, root)
    datasets = config.values.get("datasets")
    if not isinstance(datasets, dict) or not datasets:
        yield f"{root.name}/common/datasets: expected at least one <name>.yaml, found none"
        return
    yield from _smoke_faults(config, settings, datasets)
    sound = {}
    for name, dataset in datasets.items():
        path = ("datasets", name)
        if isinstance(dataset, dict) and dataset.keys() == {"expectations"}:
            expected = f"a dataset, datasets/{name}.yaml, that the rules are about"
            yield _fault(config, path, expected, "only its rules")
            continue
        faults = list(_schema_faults(config, dataset, path, schemas["dataset"]))
        yield from faults
        if faults:  # the cross checks rely on what the schema guarantees, and rules on the columns
            continue
        faults = [
            _fault(config, (*path, *key), expected, _show(found))
            for key, expected, found in dataset_faults(name, dataset)
        ]
        yield from faults
        if faults:
            continue
        sound[name] = dataset
        yield from _expectation_faults(config, dataset, schemas["expectations"])
    for key, expected, found in shared_faults(sound):
        yield _fault(config, ("datasets", *key), expected, _show(found))


def _smoke_faults(config: Config, settings: dict, datasets: dict) -> Iterator[str]:
    release = settings.get("release")
    name = release.get("smoke_dataset") if isinstance(release, dict) else None
    if isinstance(name, str) and name not in datasets:
        expected = f"one of the datasets {', '.join(datasets)}"
        yield _fault(config, ("release", "smoke_dataset"), expected, _show(name))


def _promotion_faults(
    config: Config, settings: dict, environment: str, root: Path
) -> Iterator[str]:
    """Yields what is wrong with the promotion path and with the gate that asks for it."""
    release, gates = settings.get("release"), settings.get("gates")
    if not isinstance(release, dict) or not isinstance(gates, dict):
        return  # the schema has said so
    path, key = release.get("promotion_path"), ("release", "promotion_path")
    if not isinstance(path, list):
        return
    known = known_environments(root)
    for index, name in enumerate(path):
        if name not in known:
            yield _fault(config, (*key, index), f"one of {', '.join(known)}", _show(name))
    if gates.get("promoted") is True and environment not in path[1:]:
        expected = f"false: release.promotion_path has no environment before {environment}"
        yield _fault(config, ("gates", "promoted"), expected, "true")


def _expectation_faults(config: Config, dataset: dict, schema: dict) -> Iterator[str]:
    rules = dataset.get("expectations", {})
    prefix = ("datasets", dataset["name"], "expectations")
    faults = list(_schema_faults(config, rules, prefix, schema))
    yield from faults
    columns = {column["name"]: column["type"] for column in dataset["columns"]}
    supported = schema["$defs"]["kwargs"]
    for name, rule in {} if faults else rules.items():
        path = (*prefix, name)
        if rule["type"] not in supported:
            expected = f"a supported type, one of {', '.join(supported)}"
            yield _fault(config, (*path, "type"), expected, _show(rule["type"]))
            continue
        path = (*path, "kwargs")
        faulty = list(
            _schema_faults(config, rule["kwargs"], path, rule_schema(schema, rule["type"]))
        )
        yield from faulty
        for key, expected, found in [] if faulty else rule_faults(rule, columns):
            yield _fault(config, (*path, *key), expected, _show(found))


def _schema_faults(config: Config, values: Any, prefix: KeyPath, schema: dict) -> Iterator[str]:
    for error in Draft202012Validator(schema).iter_errors(values):
        path = (*prefix, *error.absolute_path)
        known = {
            key: schema["$defs"][value["$ref"].rpartition("/")[2]] if "$ref" in value else value
            for key, value in error.schema.get("properties", {}).items()
        }
        if error.validator == "additionalProperties":
            for key in error.instance.keys() - known.keys():
                expected = f"one of {', '.join(known) or 'no keys at all'}"
                yield _fault(config, (*path, key), expected, _show(key))
        elif error.validator == "required":
            for key in error.validator_value:
                if key not in error.instance:
                    expected = known.get(key, {}).get("description", "a value")
                    yield _fault(config, (*path, key), expected, "nothing")
        else:
            rule = f"{error.validator} {_show(error.validator_value)}"
            expected = error.schema.get("description", rule)
            yield _fault(config, path, expected, _show(error.instance))


def _canary_faults(config: Config, weights: list[int]) -> Iterator[str]:
    for index, (before, weight) in enumerate(zip(weights, weights[1:]), start=1):
        if weight <= before:
            path = ("release", "canary", "weights", index)
            yield _fault(config, path, f"more than the step before, which is {before}", str(weight))


def _fault(config: Config, path: KeyPath, expected: str, found: str) -> str:
    """One line for a person: which files, which key, what was expected, what is there."""
    sources = ", ".join(dict.fromkeys(_sources(config, path)))
    return f"{sources}: {_dotted(path)}: expected {expected}; found {found}"


def _sources(config: Config, path: KeyPath) -> list[str]:
    """Returns the origins of a value; of a missing one, those of what should hold it."""
    origins = [
        origin
        for leaf, origin in config.origins.items()
        if leaf[: len(path)] == path or path[: len(leaf)] == leaf
    ]
    return origins or _sources(config, path[:-1])


def _dotted(path: KeyPath) -> str:
    return "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in path).lstrip(".")


def _show(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


# ---- command line --------------------------------------------------------------------------------


def _table(config: Config) -> str:
    """One aligned line a value: `key = value  # origin`; a list takes a line for each item."""
    rows = []
    for path, value in leaves(config.values):
        items = enumerate(value) if isinstance(value, list) and value else [(None, value)]
        for index, item in items:
            key = path if index is None else (*path, index)
            rows.append((_dotted(key), _show(item), config.origins[path]))
    # Long keys and values, such as a dataset's rules, must not push origins off the screen.
    key_width = min(max(len(key) for key, _, _ in rows), 50)
    value_width = min(max(len(value) for _, value, _ in rows), 30)
    return "\n".join(
        f"{key:<{key_width}} = {value:<{value_width}}  # {origin}" for key, value, origin in rows
    )


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m ops.config", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, purpose in {
        "show": "every value with the file that set it",
        "json": "the merged configuration as JSON",
    }.items():
        command = commands.add_parser(name, help=purpose)
        command.add_argument("--env", required=True, help=", ".join(known_environments()))
    commands.add_parser("accounts", help="every environment's account, as local AWS takes them")
    return parser.parse_args(argv)


@until_closed
def main(argv: list[str] | None = None) -> int:
    """Prints what was asked for; returns 2 and says why when the configuration is at fault."""
    arguments = _arguments(argv)
    try:
        if arguments.command == "accounts":
            accounts = {env: load_config(env).get("aws.account_id") for env in known_environments()}
            print(" ".join(f"{env}={account}" for env, account in accounts.items()))
            return 0
        config = load_config(arguments.env)
        if arguments.command == "show":
            print(_table(config))
        else:
            print(json.dumps(config.values, indent=2, ensure_ascii=False))
    except ConfigurationError as error:
        print(f"configuration error:\n{error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
