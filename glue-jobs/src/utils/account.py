"""The row account: every row that was read is loaded, rejected or superseded."""

from collections.abc import Mapping
from dataclasses import dataclass

from utils.errors import RowAccountMismatch


@dataclass(frozen=True)
class Account:
    """Rows of a run; `rejected_by_reason` counts a row under the first of its reasons."""

    rows_in: int
    loaded: int
    rejected: int
    superseded: int
    rejected_by_reason: Mapping[str, int]

    def verify(self, rows_written: int) -> None:
        """Raises RowAccountMismatch unless all sums are right.

        `rows_written` is the number of rows in the files that the warehouse will copy.
        """
        accounted = self.loaded + self.rejected + self.superseded
        if accounted != self.rows_in:
            raise RowAccountMismatch(
                f"{self.rows_in} rows in, but {self.loaded} loaded + {self.rejected} rejected"
                f" + {self.superseded} superseded = {accounted}"
            )
        if (reasons := sum(self.rejected_by_reason.values())) != self.rejected:
            raise RowAccountMismatch(f"{self.rejected} rows rejected, but reasons for {reasons}")
        if rows_written != self.loaded:
            raise RowAccountMismatch(f"{self.loaded} rows loaded, but {rows_written} in the files")
