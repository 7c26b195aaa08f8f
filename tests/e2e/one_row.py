"""Files of one row, as many as a test needs."""

from pathlib import Path

HEADER = (
    "Product@ID,Product Name!,Department,Brand,Product Category,Package Size,Price ($),Quantity,"
    "Store ID,Time"
)


def a_file(folder: Path, day: int) -> Path:
    """Write the products file of a day, 20190101; its one row has the day as product_id."""
    path = folder / f"Products_{day}.csv"
    row = f"{day},Milk,GROCERY,National,MILK,1 L,1.25,2,7,2019-01-01 08:00:00"
    path.write_text(f"{HEADER}\n{row}\n", encoding="utf-8")
    return path
