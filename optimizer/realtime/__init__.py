"""Control between two plans: job dispatch, headroom, and the controller within an interval."""
