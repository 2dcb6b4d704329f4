"""Go's text/template, as far as scripts use it with docker: text -> tree -> text, with no input or output.

Understood: fields, chains, variables, pipelines, parentheses, `if/else if/else`, `range/else`, `with/else`, comments,
trim markers, and the functions in `functions.py`. Not understood, and refused by name: define, template, block.
"""


class TemplateError(ValueError):
    """The template can't be parsed or evaluated; the message is Go's, without its `template: :1:` prefix."""
