"""What is wrong now: looked for, told as alarms, and what nobody has shown."""
