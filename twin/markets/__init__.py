"""What a contract with the network says: periods, rules in force, bills."""
