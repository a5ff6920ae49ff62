"""What is scored: the model, its baselines and the references, journey by journey."""
