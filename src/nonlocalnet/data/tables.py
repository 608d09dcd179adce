"""Text files of a data set: lines and cells with their numbers, faults with file and line."""

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path


def read_lines(file: Path) -> Iterator[tuple[int, str]]:
    """(number, text) of every line, blank ones too; a byte order mark is no text.

    Raises:
        ValueError: The file is not UTF-8 text.
    """
    with file.open("rb") as lines:
        for number, raw in enumerate(lines, 1):
            if number == 1:
                if raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
                    raise ValueError(
                        f"{file}:1: UTF-16 text, where UTF-8 was expected; save the list again as "
                        "UTF-8 (a spreadsheet calls it CSV UTF-8)"
                    )
                raw = raw.removeprefix(b"\xef\xbb\xbf")
            try:
                text = raw.decode("utf-8")
            except UnicodeDecodeError as error:
                raise ValueError(
                    f"{file}:{number}: {_short(raw.rstrip().decode('latin-1'))} is not UTF-8 text "
                    f"(byte 0x{raw[error.start]:02x}); save the list again as UTF-8"
                ) from None
            if "\0" in text:
                raise ValueError(f"{file}:{number}: a binary file, where a list was expected")
            yield number, text.rstrip("\r\n")


def read_cells(file: Path, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """(number of its first line, cells) of every record of a CSV file that is not blank.

    Raises:
        ValueError: Not UTF-8, or a quote that is not closed.
    """
    lines = (text + "\n" for _, text in read_lines(file))
    reader = csv.reader(lines, delimiter=delimiter, strict=True, skipinitialspace=True)
    while True:
        number = reader.line_num + 1
        try:
            cells = next(reader, None)
        except csv.Error:
            raise ValueError(
                f"{file}:{number}: a double quote is opened and not closed in "
                f"{_line(file, number)}; close it, and double those inside quoted text"
            ) from None
        if cells is None:
            return
        cells = [cell.strip() for cell in cells]
        if any(cells):
            yield number, cells


def read_table(
    file: Path, delimiter: str, columns: Sequence[str]
) -> Iterator[tuple[str, dict[str, str]]]:
    """(FILE:LINE, cells by lower-case column) of every record below the header.

    Raises:
        ValueError: As `read_cells`, or a record with more or fewer cells than the header has.
    """
    for number, cells in read_cells(file, delimiter):
        if len(cells) > len(columns) and not any(cells[len(columns) :]):
            cells = cells[: len(columns)]
        if len(cells) != len(columns):
            raise ValueError(
                f"{file}:{number}: {_count(cells, 'value')} in {_line(file, number)}, where the "
                f"header names {_count(columns, 'column')} ({', '.join(columns)}); put a text "
                f"that holds {'a comma' if delimiter == ',' else repr(delimiter)} in double quotes"
            )
        if [cell.lower() for cell in cells] != list(columns):  # the header, wherever it is
            yield f"{file}:{number}", dict(zip(columns, cells, strict=True))


def _count(things: Sequence[str], name: str) -> str:
    return f"{len(things)} {name}{'' if len(things) == 1 else 's'}"


def _line(file: Path, wanted: int) -> str:
    return _short(next((text for number, text in read_lines(file) if number == wanted), ""))


def _short(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:57] + "...")
