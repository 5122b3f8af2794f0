"""Distributed principal component analysis."""
