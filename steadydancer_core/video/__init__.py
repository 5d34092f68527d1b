"""Video files with sound, read as a stream and written through PyAV."""
