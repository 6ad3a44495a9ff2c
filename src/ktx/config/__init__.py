"""`ktx.yaml` as typed values: the model, references, loading with findings, and edits that keep comments."""
