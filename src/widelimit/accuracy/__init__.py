"""An accuracy table: duals and limit kernels beside mpmath."""
