"""The job as public notebooks write it: binaryFile, repartition(24), Keras in a pandas_udf, MLlib's PCA, Parquet.

    python bench/notebook.py --input FOLDER --output FOLDER [--form usual|best] [--weights bundled] [--json FILE]

- ``usual``: features are a lazy frame. They are written, then the PCA is fitted on the frame, then the frame is
  transformed and written. Each pass over the frame computes all features again; the fit takes two.
- ``best``: features are written to Parquet and read back, so that they are computed once.

Nothing of Verger computes here: it resolves the weights, so that both jobs have the same.
"""

from __future__ import annotations

import argparse
import io
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from inputs import network_of, tell
from keras_network import keras_network
from PIL import Image
from plain_session import start_session

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession


def extract(spark: SparkSession, folder: str, weights: str, partitions: int) -> DataFrame:
    """A lazy frame of path, label and features."""
    from pyspark.sql.functions import col, element_at, pandas_udf, split
    from pyspark.sql.types import ArrayType, FloatType

    network = network_of(weights)
    alpha, size = network.alpha, network.input_size
    broadcast = spark.sparkContext.broadcast(keras_network(network.weights.tensors, alpha, size).get_weights())

    def build_model() -> Any:
        from keras.applications.mobilenet_v2 import MobileNetV2

        model = MobileNetV2(input_shape=(size, size, 3), alpha=alpha, include_top=False, weights=None, pooling="avg")
        model.set_weights(broadcast.value)
        return model

    def preprocess(content: bytes) -> np.ndarray:
        from keras.applications.mobilenet_v2 import preprocess_input

        image = Image.open(io.BytesIO(content)).convert("RGB").resize((size, size))
        return preprocess_input(np.asarray(image, np.float32))

    def featurize(batches: Iterator[pd.Series]) -> Iterator[pd.Series]:
        model = build_model()
        for batch in batches:
            predicted = model.predict(np.stack(batch.map(preprocess).to_list()), verbose=0)
            yield pd.Series([features.flatten() for features in predicted])

    featurize.__annotations__ = {"batches": Iterator[pd.Series], "return": Iterator[pd.Series]}
    featurize_udf = pandas_udf(featurize, ArrayType(FloatType()))
    images = (
        spark.read.format("binaryFile")
        .option("pathGlobFilter", "*.jpg")
        .option("recursiveFileLookup", "true")
        .load(folder)
        .withColumn("label", element_at(split(col("path"), "/"), -2))
    )
    return images.repartition(partitions).select(col("path"), col("label"), featurize_udf("content").alias("features"))


def run(spark: SparkSession, options: argparse.Namespace) -> dict[str, Any]:
    """The job; seconds of each of its actions."""
    from pyspark.ml.feature import PCA
    from pyspark.ml.functions import array_to_vector
    from pyspark.sql.functions import col

    seconds: dict[str, float] = {}
    features = timed(seconds, "prepare", lambda: extract(spark, options.input, options.weights, options.partitions))
    stored = f"{options.output}/features"
    timed(seconds, "features", lambda: features.write.mode("overwrite").parquet(stored))
    if options.form == "best":
        features = spark.read.parquet(stored)
    vectors = features.withColumn("vector", array_to_vector(col("features")))
    pca = PCA(k=options.components, inputCol="vector", outputCol="components")
    model = timed(seconds, "pca_fit", lambda: pca.fit(vectors))
    written = model.transform(vectors).select("path", "label", "components").write.mode("overwrite")
    timed(seconds, "project", lambda: written.parquet(f"{options.output}/projection"))
    return {
        "form": options.form,
        "rows": spark.read.parquet(f"{options.output}/projection").count(),
        "stages_s": {name: round(value, 2) for name, value in seconds.items()},
    }


def timed(seconds: dict[str, float], name: str, action: Callable[[], Any]) -> Any:
    """Do something, and note how long it took."""
    began = time.perf_counter()
    result = action()
    seconds[name] = time.perf_counter() - began
    return result


def main() -> None:
    """Run the job once."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--input", required=True)
    parser.add_argument("--output", required=True)
    parser.add_argument("--form", choices=("usual", "best"), default="best")
    parser.add_argument("--weights", default="bundled")
    parser.add_argument("--components", type=int, default=50)
    parser.add_argument("--partitions", type=int, default=24)
    parser.add_argument("--json")
    options = parser.parse_args()
    options.output = str(Path(options.output).resolve())
    spark = start_session()
    try:
        tell(run(spark, options), options.json)
    finally:
        spark.stop()


if __name__ == "__main__":
    main()
