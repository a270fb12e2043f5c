"""Reports: efficiency indicators, EU figures, national limits and savings of set points."""
