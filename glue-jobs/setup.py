"""Packages the job's modules as the wheel that Glue loads through --extra-py-files."""

from setuptools import setup

setup(
    name="retail_etl",
    version="1.0.0",
    description="Transformations, quality rules and utilities of the retail pipeline's Glue job",
    python_requires=">=3.11",
    package_dir={"": "src"},
    packages=["quality", "transformations", "utils"],
)
