"""Lossless delivery of rack batches: protocol, publisher and tracker."""
