"""Local folders and S3 behind one small interface, and how buckets are reached."""
