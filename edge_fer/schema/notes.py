"""What the source says about the fields of a type."""

from __future__ import annotations

import ast
import inspect
import io
import textwrap
import tokenize


def field_notes(owner: type) -> dict[str, str]:
    """Field -> the comment on its line, or the docstring below it; fields without either are left out.

    Read from the source, so that a payload type stays one line a field; empty where Python was installed without it.
    """
    try:
        source = textwrap.dedent(inspect.getsource(owner))
    except (OSError, TypeError):  # installed without its source; built in
        return {}
    comments = {
        token.start[0]: token.string.lstrip("# ")
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT and not token.string.startswith("# noqa")
    }
    notes: dict[str, str] = {}
    field = ""
    (body,) = ast.parse(source).body
    for node in body.body if isinstance(body, ast.ClassDef) else ():
        below = field
        field = ""
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            field = node.target.id
            if (comment := comments.get(node.end_lineno or node.lineno)) is not None:
                notes[field] = comment
        elif below and isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            notes[below] = inspect.cleandoc(str(node.value.value))
    return notes
