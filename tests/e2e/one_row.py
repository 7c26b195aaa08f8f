"""Files of one row, or a few, as many as a test needs."""

from pathlib import Path

HEADER = (
    "Product@ID,Product Name!,Department,Brand,Product Category,Package Size,Price ($),Quantity,"
    "Store ID,Time"
)


def a_file(folder: Path, day: int, rows: int = 1) -> Path:
    """Write the products file of a day, 20190101; its rows have the day as product_id."""
    path = folder / f"Products_{day}.csv"
    lines = [
        f"{day},Milk,GROCERY,National,MILK,1 L,1.25,2,7,2019-01-01 08:00:{second:02}"
        for second in range(rows)
    ]
    path.write_text("\n".join([HEADER, *lines, ""]), encoding="utf-8")
    return path
