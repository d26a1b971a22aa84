"""Data validation by TensorFlow Data Validation: statistics, schema, anomalies."""
