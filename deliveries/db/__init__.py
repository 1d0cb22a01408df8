"""SQL shared by the steps, and the types that PostgreSQL and Python exchange. Knows no step of the pipeline."""
