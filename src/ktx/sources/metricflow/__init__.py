"""MetricFlow semantic models and metrics, the dbt Semantic Layer."""
