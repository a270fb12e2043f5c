"""Problems: the input of one decision, with its checks, outlook, contracts and migration."""
