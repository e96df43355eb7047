"""What a phase writes: the tables, their schema, codecs between results and Parquet."""
