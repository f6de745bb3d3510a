"""What is published, as documents for other programs: JSON Schema, AsyncAPI, samples. The daemon needs none of it."""
