# %% [markdown]
# # One fit on a Spark cluster
#
# Spark's `mapInArrow` gives a function the record batches of a partition, and takes record batches
# back. Here the function takes the E-step on all rows of the partition, and one row comes back: the
# statistics as bytes. Rows stay where they are.
#
# The functions need no Spark; what is at the end needs `pyspark`, and a folder that driver and
# workers share.

# %%
import emfast
from emfast import Statistics

COLUMN = "statistics"
SCHEMA = f"{COLUMN} binary"


def summarizer(model_path, features):
    """What `mapInArrow` calls on the record batches of a partition."""

    def summarize(batches):
        import pyarrow

        model, total = emfast.load(model_path), None
        for batch in batches:
            if batch.num_rows:
                columns = [batch.column(name) for name in features]
                statistics = model.summarize(pyarrow.table(columns, names=features))
                total = statistics if total is None else total + statistics
        # A partition may have no rows.
        if total is not None:
            yield pyarrow.RecordBatch.from_pydict({COLUMN: [total.to_bytes()]})

    return summarize


def added(contents):
    """The sum of statistics that have come as bytes."""
    return sum(Statistics.from_bytes(bytes(content)) for content in contents)


# %% [markdown]
# The start is made of a sample of the rows on the driver, `fit` with ``max_iter=0``. Every
# iteration is one job of Spark. The rows are cached, and the model goes out by a file with the
# number of the iteration in its name.


# %%
def fit(model, frame, features, folder, max_iter=100):
    """EM on the rows of a Spark data frame, from where a fitted model is."""
    rows = frame.select(*features).cache()
    while not model.converged_ and model.n_iter_ < max_iter:
        path = f"{folder}/model{model.n_iter_}"
        model.save(path)
        found = rows.mapInArrow(summarizer(path, features), SCHEMA).collect()
        model.update(added(row[COLUMN] for row in found))
    return model


if __name__ == "__main__":
    import sys

    from pyspark.sql import SparkSession

    _, parquet, shared_folder, *features = sys.argv
    frame = SparkSession.builder.getOrCreate().read.parquet(parquet)
    sample = frame.select(*features).limit(100_000).toPandas()
    start = emfast.GaussianMixture(8, covariance_type="diag", max_iter=0, random_state=0)
    fit(start.fit(sample), frame, features, shared_folder).save("mixture")
