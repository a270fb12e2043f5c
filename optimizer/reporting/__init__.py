"""Files and records of runs, and operating data for reports and bills."""
