"""The graph of a lifted network: operations, shapes, validation, figures."""
