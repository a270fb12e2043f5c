"""The ground floor: words, equipment, physics, state and forecast of a site."""
