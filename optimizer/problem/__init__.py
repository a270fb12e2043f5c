"""What a question may hold: its promises, its sense, its horizon, its positions, its moves."""
