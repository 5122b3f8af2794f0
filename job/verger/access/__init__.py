"""Where bytes come from and go to: storage and the SparkSession."""
