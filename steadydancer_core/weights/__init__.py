"""Model files: what they are, whether they are whole, loading, and conversion into one another."""
