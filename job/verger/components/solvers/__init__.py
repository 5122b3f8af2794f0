"""The solvers of a PCA: exact by d x d or n x n matrix, or randomized; and which one is taken."""
