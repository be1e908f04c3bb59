"""What users ask of models, and what becomes of it. A job is submitted at most once, and ends whatever happens."""
