"""Networks: their weights, their preprocessing, and their features of photographs."""
