"""Pictures and pages from plain arrays: arrows, curves, reports. Imports nothing of ours."""


def plain(text: str) -> str:
    r"""A name as it is written: between two dollars matplotlib would read a formula.

    Example:
        >>> print(plain("from $5 to $6"))
        from \$5 to \$6
    """
    return text.replace("$", r"\$")
