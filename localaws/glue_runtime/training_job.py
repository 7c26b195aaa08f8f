"""A Glue job that uses what ETL jobs use, so that the AppCDS archive holds the classes they need.

``--folder`` is an s3:// prefix that it may write to. It ends the JVM itself and waits: the archive
is written while the JVM exits.
"""

import sys

from awsglue.context import GlueContext
from awsglue.utils import getResolvedOptions
from py4j.protocol import Py4JError
from pyspark import SparkContext
from pyspark.sql import Observation, Window
from pyspark.sql import functions as F


def main(folder: str) -> None:
    """Write a CSV file, read it back, cast, check, deduplicate, measure, and write Parquet."""
    spark = GlueContext(SparkContext.getOrCreate()).spark_session
    spark.range(2000).select(
        (F.col("id") % 700).cast("string").alias("Product@ID"),
        F.concat(F.lit('a "name", '), F.col("id")).alias("Product Name!"),
        F.when(F.col("id") % 50 > 0, F.col("id") / 7).cast("string").alias("Price ($)"),
        F.lit("2017-01-01 10:00:00").alias("Time"),
    ).write.mode("overwrite").option("header", True).csv(f"{folder}/in")

    rows = spark.read.option("header", True).option("multiLine", True).csv(f"{folder}/in/*.csv")
    lines = spark.read.text(f"{folder}/in/", wholetext=False)
    parsed = lines.select(F.from_csv("value", "a string, b string, c string, d string").alias("r"))
    parsed.where("r.a is null").count()
    typed = rows.select(
        F.expr("try_cast(`Product@ID` as bigint)").alias("product_id"),
        F.trim(F.regexp_replace("Product Name!", r"\s+", " ")).alias("product_name"),
        F.col("Price ($)").cast("decimal(12,2)").alias("price"),
        F.to_timestamp("Time", "yyyy-MM-dd HH:mm:ss").alias("time"),
        F.input_file_name().alias("source_file"),
        F.monotonically_increasing_id().alias("row"),
    )
    reasons = F.filter(
        F.array(
            F.when(F.col("price").isNull(), F.lit("price is empty")),
            F.when(F.octet_length("product_name") > 100, F.lit("product_name is too long")),
        ),
        lambda reason: reason.isNotNull(),
    )
    latest = Window.partitionBy("product_id", "time").orderBy(F.desc("row"))
    status = F.when(F.size("reasons") > 0, "rejected").when(F.col("rank") > 1, "superseded")
    marked = (
        typed.withColumn("reasons", reasons)
        .withColumn("rank", F.row_number().over(latest))
        .withColumn("status", status.otherwise("loaded"))
    )
    account = Observation("account")
    measured = marked.observe(
        account,
        F.count(F.lit(1)).alias("rows_in"),
        F.sum(F.when(F.col("status") == "loaded", 1).otherwise(0)).alias("loaded"),
        F.max("time").cast("string").alias("latest"),
    )
    measured.write.mode("overwrite").partitionBy("status").parquet(f"{folder}/out")
    print(account.get)

    written = spark.read.parquet(f"{folder}/out")
    written.createOrReplaceTempView("written")
    spark.sql("SELECT status, count(*) FROM written GROUP BY status ORDER BY 1").show()
    written.select(F.explode_outer("reasons").alias("reason")).groupBy("reason").count().collect()
    written.where("status = 'loaded'").drop("status").coalesce(1).write.mode("append").option(
        "compression", "zstd"
    ).parquet(f"{folder}/again")
    written.join(F.broadcast(written.select("product_id").distinct()), "product_id").write.mode(
        "overwrite"
    ).json(f"{folder}/json")
    spark.createDataFrame([(1, "a")], "id int, name string").toPandas()


if __name__ == "__main__":
    main(getResolvedOptions(sys.argv, ["JOB_NAME", "folder"])["folder"])
    try:
        SparkContext.getOrCreate()._jvm.System.exit(0)  # pylint: disable=protected-access
    except Py4JError:
        pass  # the JVM is gone, which is what was asked for
