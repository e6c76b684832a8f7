"""Speech encoders read as a stem and numbered blocks."""
