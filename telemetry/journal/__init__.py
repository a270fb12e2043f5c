"""Write-ahead journal of received messages: format, writer and follower."""
