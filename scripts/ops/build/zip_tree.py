"""Zips a folder so that the same files give the same bytes: sorted, with fixed dates and modes."""

import argparse
import sys
import zipfile
from pathlib import Path

EARLIEST_DATE = (1980, 1, 1, 0, 0, 0)  # the first that a zip can hold
FILE_MODE = 0o100644
COMPRESSION_LEVEL = 6
UNIX = 3


def zip_tree(source: Path, target: Path) -> None:
    """Write every file below `source` into the zip `target`.

    Raises ValueError for a folder without files and for a symbolic link, which Lambda would not
    follow.
    """
    paths = sorted(source.rglob("*"), key=lambda path: path.relative_to(source).as_posix())
    for path in paths:
        if path.is_symlink():
            raise ValueError(f"{path} is a symbolic link; put the file itself there")
    files = [path for path in paths if path.is_file()]
    if not files:
        raise ValueError(f"{source} has no files to zip")
    with zipfile.ZipFile(target, "w") as archive:
        for file in files:
            entry = zipfile.ZipInfo(file.relative_to(source).as_posix(), EARLIEST_DATE)
            entry.create_system = UNIX
            entry.external_attr = FILE_MODE << 16
            archive.writestr(entry, file.read_bytes(), zipfile.ZIP_DEFLATED, COMPRESSION_LEVEL)


def main() -> int:
    """Zip the folder named on the command line."""
    parser = argparse.ArgumentParser(prog="python -m ops.build.zip_tree", description=__doc__)
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    arguments = parser.parse_args()
    try:
        zip_tree(arguments.source, arguments.target)
    except (ValueError, OSError) as error:
        print(f"zip_tree: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
