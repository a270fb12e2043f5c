"""What makes a simulated plant unlike the twin: wear, ramps, sensors, calls of the grid."""
