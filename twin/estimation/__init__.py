"""State estimation: Kalman filter banks that learn the errors of sensors and models."""
