"""Write the API page of the book from the signatures and docstrings in code/genmodels.

The modules are parsed, not imported, so that no framework is needed.

    python scripts/api.py           write chapters/appendix/api.md
    python scripts/api.py --check   write nothing; exit 1 if the page is not up to date
"""

import ast
import inspect
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "code" / "genmodels"
PAGE = ROOT / "chapters" / "appendix" / "api.md"
LONGEST_SIGNATURE = 40  # characters, for a telephone; a longer one gets a line for each argument
SECTIONS = {"Args:": "Arguments", "Returns:": "Returns", "Raises:": "Errors"}
INTRODUCTION = """# API

<!-- Written by scripts/api.py from the docstrings of code/genmodels: change those instead. -->

Every public function and class of the package `genmodels`, module by module, with its docstring.
The symbols are those of the [notation](notation.md).

"""

Function = ast.FunctionDef | ast.AsyncFunctionDef


def page(package: Path) -> str:
    """Return the Markdown page for the modules in the folder `package`, in alphabetical order."""
    modules = {path.stem: path.read_text(encoding="utf-8") for path in sorted(package.glob("*.py"))}
    modules.pop("__init__", None)
    return INTRODUCTION + "\n\n".join(module_section(*item) for item in modules.items()) + "\n"


def module_section(name: str, source: str) -> str:
    """Return the section of one module: its docstring, then what it defines for others."""
    tree = ast.parse(source)
    parts = [f"## genmodels.{name}", markdown(docstring(tree, name))]
    for node in public_nodes(tree):
        if isinstance(node, ast.ClassDef):
            parts += class_parts(name, node, source)
        else:
            parts += [f"### {name}.{node.name}", *function_parts(node)]
    return "\n\n".join(part for part in parts if part)


def public_nodes(tree: ast.Module) -> list[ast.ClassDef | Function]:
    """Return the functions and classes in `__all__`, or those without leading underscore."""
    nodes = [node for node in tree.body if isinstance(node, ast.ClassDef | Function)]
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            exported = ast.literal_eval(node.value)
            return [node for node in nodes if node.name in exported]
    return [node for node in nodes if not node.name.startswith("_")]


def class_parts(module: str, node: ast.ClassDef, source: str) -> list[str]:
    """Return heading, signature, docstring, fields and public methods of a class."""
    methods = {child.name: child for child in node.body if isinstance(child, Function)}
    arguments = []
    if "__init__" in methods:
        arguments = argument_list(methods["__init__"].args)[1:]  # without self
    parts = [
        f"### {module}.{node.name}",
        code(f"class {node.name}", arguments) if arguments else "",
        markdown(docstring(node, f"{module}.{node.name}")),
        field_list(node, source),
    ]
    bases = [ast.unparse(base) for base in node.bases if ast.unparse(base) != "NamedTuple"]
    if bases:
        parts.append("A subclass of " + " and ".join(f"`{base}`" for base in bases) + ".")
    for name, method in methods.items():
        if not name.startswith("_"):
            parts += [f"#### {node.name}.{name}", *function_parts(method, in_class=True)]
    return parts


def field_list(node: ast.ClassDef, source: str) -> str:
    """Return the annotated public fields as a list, each with the comment on its line."""
    lines, items = source.splitlines(), []
    for child in node.body:
        if isinstance(child, ast.AnnAssign) and not ast.unparse(child.target).startswith("_"):
            # Columns of the syntax tree count bytes, so cut the encoded line.
            rest = lines[child.end_lineno - 1].encode()[child.end_col_offset :].decode()
            comment = rest.partition("#")[2].strip()
            field = f"* `{ast.unparse(child.target)}: {ast.unparse(child.annotation)}`"
            items.append(f"{field}: {escape(comment)}" if comment else field)
    return "\n".join(items)


def function_parts(node: Function, in_class: bool = False) -> list[str]:
    """Return signature and docstring of a function or method; a property has no signature."""
    decorators = [ast.unparse(decorator) for decorator in node.decorator_list]
    returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    arguments = argument_list(node.args)
    if in_class and "staticmethod" not in decorators:
        arguments = arguments[1:]  # without self
    text = markdown(ast.get_docstring(node) or "")
    if "property" in decorators:
        return [f"A property: `{node.name}{returns}`", text]
    return [code(node.name, arguments, returns), text]


def argument_list(arguments: ast.arguments) -> list[str]:
    """Return the arguments as they stand in the source, with annotation and default."""
    positional = [*arguments.posonlyargs, *arguments.args]
    defaults = [None] * (len(positional) - len(arguments.defaults)) + arguments.defaults
    listed = [argument(*pair) for pair in zip(positional, defaults)]
    if arguments.posonlyargs:
        listed.insert(len(arguments.posonlyargs), "/")
    if arguments.vararg:
        listed.append("*" + argument(arguments.vararg, None))
    elif arguments.kwonlyargs:
        listed.append("*")
    listed += [argument(*pair) for pair in zip(arguments.kwonlyargs, arguments.kw_defaults)]
    if arguments.kwarg:
        listed.append("**" + argument(arguments.kwarg, None))
    return listed


def argument(node: ast.arg, default: ast.expr | None) -> str:
    """Return one argument as source text."""
    annotation = f": {ast.unparse(node.annotation)}" if node.annotation else ""
    if default is None:
        return node.arg + annotation
    equals = " = " if annotation else "="
    return node.arg + annotation + equals + ast.unparse(default)


def code(name: str, arguments: list[str], returns: str = "") -> str:
    """Return a signature as a block of code that is narrow enough for a small screen."""
    signature = f"{name}({', '.join(arguments)}){returns}"
    if len(signature) > LONGEST_SIGNATURE:
        signature = f"{name}(\n" + "".join(f"    {each},\n" for each in arguments) + f"){returns}"
    return f"```python\n{signature}\n```"


def docstring(node: ast.Module | ast.ClassDef, name: str) -> str:
    """Return the docstring of a module or class.

    Raises:
        ValueError: there is none.
    """
    text = ast.get_docstring(node)
    if not text:
        raise ValueError(f"{name} has no docstring, expected one sentence at least")
    return text


def markdown(text: str) -> str:
    """Return a docstring as Markdown: sections become lists, indented blocks become code."""
    out = []
    for block in re.split(r"\n\s*\n", text.strip("\n")):
        lines = block.split("\n")
        if lines[0] in SECTIONS:
            out.append(section(lines[0], inspect.cleandoc("\n".join(["", *lines[1:]]))))
        elif lines[0].startswith("    "):
            out.append("```text\n" + inspect.cleandoc("\n" + block) + "\n```")
        else:
            out.append(escape(block))
    return "\n\n".join(out)


def section(title: str, body: str) -> str:
    """Return one section of a docstring; an entry `name: text` becomes an item of a list."""
    heading = f"**{SECTIONS[title]}**"
    if title == "Returns:":
        return f"{heading}: {escape(body)}"
    entries = []
    for line in body.split("\n"):
        if line.startswith(" ") and entries:
            entries[-1] += "\n  " + escape(line.strip())
        else:
            name, colon, rest = line.partition(":")
            entries.append(f"* `{name}`{colon}{escape(rest)}" if colon else f"* {escape(line)}")
    return heading + "\n\n" + "\n".join(entries)


def escape(text: str) -> str:
    """Escape what Markdown would take for markup, but not in `code` and not the mark of a list."""
    parts = re.split(r"(``.+?``|`[^`]+`)", text, flags=re.DOTALL)
    for i in range(0, len(parts), 2):
        part = re.sub(r"(?<!\w)_|_(?!\w)|(?<!^)\*|[<$]", r"\\\g<0>", parts[i], flags=re.MULTILINE)
        parts[i] = part.replace("](", "]\\(")
    return "".join(parts)


def main() -> int:
    """Write the page, or check it; return the exit status."""
    if sys.argv[1:] not in ([], ["--check"]):
        print("usage: python scripts/api.py [--check]", file=sys.stderr)
        return 2
    text = page(PACKAGE)
    if not sys.argv[1:]:
        PAGE.write_text(text, encoding="utf-8")
        return 0
    if not PAGE.exists() or PAGE.read_text(encoding="utf-8") != text:
        print("chapters/appendix/api.md is not up to date; run: make api", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
