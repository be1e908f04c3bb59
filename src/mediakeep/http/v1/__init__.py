"""`/api/v1`: projects, their image assets, and the generations of those."""
