"""The job as a plain process on local files, for the tests of whole runs."""

import json
from pathlib import Path

import etl_main
import yaml
from transformations.rejection import REJECTED

CONFIG = Path(__file__).resolve().parents[2] / "config/common"
HEADER = (
    "Product@ID,Product Name!,Department,Brand,Product Category,Package Size,Price ($),Quantity,"
    "Store ID,Time\n"
)
GOOD = {
    "product_id": "1",
    "product_name": "Tea",
    "department": "GROCERY",
    "brand": "National",
    "product_category": "TEA",
    "package_size": "20 CT",
    "price": "2.50",
    "quantity": "2",
    "store_id": "330",
    "time": "2017-01-15 10:20:30",
}


def line(**values):
    return ",".join((GOOD | values).values()) + "\n"


class LocalJob:
    """Runs the job on files of a folder and reads what it wrote."""

    def __init__(self, spark, folder):
        self.spark = spark
        self.folder = folder
        self.output = folder / "runs/run-1"
        self.report = None
        (folder / "staging").mkdir()
        self.configure(products=self.products())

    @staticmethod
    def products(*expectations):
        """The project's own dataset, with these rules and no others."""
        text = (CONFIG / "datasets/products.yaml").read_text(encoding="utf-8")
        rules = {f"rule-{number}": rule for number, rule in enumerate(expectations, start=1)}
        return {**yaml.safe_load(text), "expectations": rules}

    def configure(self, **datasets):
        (self.folder / "config.json").write_text(json.dumps({"datasets": datasets}))

    def run(self, *contents, names=None, **arguments):
        """Writes each content as a file of one run, runs the job, and returns its report."""
        names = names or [f"Products_201701{15 + day}.csv" for day in range(len(contents))]
        for name, content in zip(names, contents):
            content = content.encode() if isinstance(content, str) else content
            (self.folder / "staging" / name).write_bytes(content)
        self.report = etl_main.run(self.spark, self.arguments(names) | arguments)
        return self.report

    def arguments(self, names):
        root = f"file://{self.folder}"
        return {
            "JOB_NAME": "etl",
            "config_uri": f"{root}/config.json",
            "release": "20170116-0123456789ab",
            "run_id": "run-1",
            "dataset": "products",
            "run_date": "20170115",
            "source_file_name": ",".join(names),
            "source_prefix": f"{root}/staging/",
            "output_prefix": f"{root}/runs/run-1/",
            "history_prefix": f"{root}/history/products/",
            "is_replay": "false",
        }

    def document(self, name):
        return json.loads((self.output / name).read_text(encoding="utf-8"))

    def copied(self):
        """The files that the warehouse would copy."""
        return [entry["url"] for entry in self.document("manifest.json")["entries"]]

    def loaded(self):
        """Their rows, as the table would have them."""
        urls = self.copied()
        return self.spark.read.parquet(*urls).drop(REJECTED).collect() if urls else []

    def rejected(self):
        """The rows that it would not."""
        return self.spark.read.parquet(f"file://{self.output}/rejected").collect()


def counts(report):
    return {key: report[key] for key in ("rows_in", "loaded", "rejected", "superseded")}
