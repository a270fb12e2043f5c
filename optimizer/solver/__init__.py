"""Linear and mixed-integer programs on arrays: the only place that knows the solver."""
