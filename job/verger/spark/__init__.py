"""The SparkSession, embedded or submitted, and what goes wrong in it."""
