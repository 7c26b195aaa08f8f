"""What the Lambda functions share: clients, configuration, errors, logs, metrics, names."""
