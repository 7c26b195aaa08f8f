"""A rejected row's place in its part of a file becomes its line, whatever lies before it."""

import io

import pytest
from ops.data.rejected import find_lines

FILE = b'h1,h2\n1,a\n\n2,"two\nlines, ""quoted"""\r\n3,bad\n4,"x"\nlast,\xff'


def test_a_row_is_found_behind_blank_lines_and_line_breaks_in_quotes():
    places = [(0, 0), (0, 2), (0, 4)]
    assert find_lines(io.BytesIO(FILE), places, multi_line=True) == {
        (0, 0): (2, "1,a"),
        (0, 2): (6, "3,bad"),
        (0, 4): (8, "last,\ufffd"),
    }


def test_a_row_of_several_lines_is_shown_whole_with_its_first_line():
    assert find_lines(io.BytesIO(FILE), [(0, 1)], multi_line=True) == {
        (0, 1): (4, '2,"two\nlines, ""quoted"""')
    }


@pytest.mark.parametrize(
    "place, line",
    [
        ((0, 0), (2, "aa")),
        ((0, 2), (5, "dd")),
        ((3, 0), (3, "bb")),  # it begins within "aa", which the part before reads to its end
        ((5, 0), (5, "dd")),  # exactly where "bb" begins: the part before reads that line too
        ((3, 1), (5, "dd")),
    ],
)
def test_in_a_part_rows_count_from_the_first_line_that_begins_in_it(place, line):
    text = b"h\naa\nbb\n\x01\ndd\n"  # lines begin at 0, 2, 5, 8 and 10; that of 8 is blank to Spark
    assert find_lines(io.BytesIO(text), [place], multi_line=False) == {place: line}


def test_a_place_that_is_not_there_is_not_found():
    assert not find_lines(io.BytesIO(FILE), [(0, 99)], multi_line=True)
