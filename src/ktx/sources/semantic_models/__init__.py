"""MetricFlow's semantic models and metrics as values, and what they define in the words of the layer."""
