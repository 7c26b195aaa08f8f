"""The same files give the same zip, byte for byte."""

import os
import zipfile

import pytest
from ops.build.zip_tree import zip_tree


def make_tree(root, names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    return root


def test_bytes_do_not_depend_on_times_modes_or_the_order_of_creation(tmp_path):
    names = ["b.py", "a/c.py", "a.py"]
    first = make_tree(tmp_path / "first", names)
    second = make_tree(tmp_path / "second", reversed(names))
    os.utime(second / "b.py", (0, 10**9))
    (second / "a.py").chmod(0o600)
    for tree in (first, second):
        zip_tree(tree, tree.with_suffix(".zip"))
    assert (tmp_path / "first.zip").read_bytes() == (tmp_path / "second.zip").read_bytes()


def test_zip_holds_every_file_readable_by_all(tmp_path):
    zip_tree(make_tree(tmp_path / "tree", ["a/b.py", "c.py"]), tmp_path / "tree.zip")
    with zipfile.ZipFile(tmp_path / "tree.zip") as archive:
        assert archive.namelist() == ["a/b.py", "c.py"]
        assert archive.read("a/b.py") == b"a/b.py"
        assert {entry.external_attr >> 16 for entry in archive.infolist()} == {0o100644}


def test_folder_without_files_is_refused(tmp_path):
    (tmp_path / "tree/empty").mkdir(parents=True)
    with pytest.raises(ValueError, match="no files"):
        zip_tree(tmp_path / "tree", tmp_path / "tree.zip")


def test_symbolic_link_is_refused_by_name(tmp_path):
    tree = make_tree(tmp_path / "tree", ["a.py"])
    (tree / "link.py").symlink_to("a.py")
    with pytest.raises(ValueError, match="link.py is a symbolic link"):
        zip_tree(tree, tmp_path / "tree.zip")
