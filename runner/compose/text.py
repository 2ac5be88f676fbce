"""YAML as a person would write it: keys in their order, what many services share written once."""

from __future__ import annotations

from typing import Any

from runner.errors import UserError


class Table(dict[str, Any]):
    """A mapping that others may build on.

    Args:
        own: its keys.
        base: a mapping whose keys it has, too, unless it has its own; written as ``<<: *name``. It must have
            a name and stand before in the document.
        name: its anchor; None if nobody builds on it.
    """

    def __init__(self, own: dict[str, Any], base: Table | None = None, name: str | None = None) -> None:
        super().__init__({**(base or {}), **own})
        self.own, self.base, self.name = own, base, name


def dump(document: dict[str, Any], comment: str) -> str:
    """A document as YAML, behind a comment. Reading it back gives ``document`` again, as plain data.

    Raises:
        UserError: if PyYAML is not installed.
    """
    # Only this command needs it: the extra `compose`.
    try:
        import yaml
    except ImportError:
        raise UserError("compose files need the package pyyaml: pip install 'vicinal[compose]'") from None

    class Dumper(yaml.SafeDumper):  # type: ignore[misc]  # PyYAML ships no types
        def ignore_aliases(self, data: Any) -> bool:
            return not (isinstance(data, Table) and data.name is not None)

        def generate_anchor(self, node: Any) -> str:
            return str(node.anchor_name)

        def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
            super().increase_indent(flow, False)  # items of a list stand to the right of its key

    def represent(dumper: Any, table: Table) -> Any:
        node = dumper.represent_dict(table.own.items())
        node.anchor_name = table.name
        if table.base is not None:
            merge = yaml.ScalarNode("tag:yaml.org,2002:merge", "<<")
            node.value.insert(0, (merge, dumper.represent_data(table.base)))
        if table.name is not None:
            dumper.represented_objects[id(table)] = node
        return node

    Dumper.add_representer(Table, represent)
    text: str = yaml.dump(document, Dumper=Dumper, sort_keys=False, width=110, allow_unicode=True)
    return "".join(f"# {line}\n" for line in comment.splitlines()) + "\n" + text
